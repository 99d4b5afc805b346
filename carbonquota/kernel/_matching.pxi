# Rules matched on the way down a name.


cdef class FlatMatcher:
    """A matcher's plan to walk without Python, but for the first time that a set of nodes is met.

    `plan` is a `rules.plan.Plan`. `matcher` is whose plan it is: it is asked what it means to reach some nodes, and for
    steps that the plan cannot tell. States are the matcher's. To be used under the caller's lock.
    """

    def __cinit__(self, matcher not None, plan not None):
        self.of = matcher
        self.beyond = plan.beyond
        self.tables.programs = <int32_t*>_copy_of(plan.programs)
        self.tables.program_of = <int32_t*>_copy_of(plan.program_of)
        self.tables.nodes = <cq_node*>_copy_of(plan.nodes)
        self.tables.edges = <int32_t*>_copy_of(plan.edges)
        self.tables.lengths = <int32_t*>_copy_of(plan.lengths)
        self.tables.texts = <unsigned char*>_copy_of(np.frombuffer(plan.texts, np.uint8))
        self.put_keys(plan.keys)
        if cq_grow_steps(&self.tables):
            raise MemoryError

    def __dealloc__(self):
        cq_free_matcher(&self.tables)

    cdef int put_keys(self, int64_t[:, ::1] keys) except -1:
        cdef uint64_t places = 2
        cdef Py_ssize_t at
        cdef cq_key key
        while places < 2 * <uint64_t>keys.shape[0]:
            places *= 2
        self.tables.keys = <cq_key*>malloc(places * sizeof(cq_key))
        if self.tables.keys == NULL:
            raise MemoryError
        memset(self.tables.keys, 0xFF, places * sizeof(cq_key))
        self.tables.key_mask = places - 1
        for at in range(keys.shape[0]):
            key.node, key.kind, key.glob, key.child = keys[at, 0], keys[at, 1], keys[at, 2], keys[at, 3]
            key.text, key.length = keys[at, 4], keys[at, 5]
            cq_put_key(&self.tables, &key)
        return 0

    def step(self, int64_t state, bytes component not None):
        """The state and the rule of the namespace `component`, in UTF-8, below a namespace in `state`."""
        if state < 0:
            raise ValueError("states are numbered from 0")
        cdef cq_found found = self.find(state, _characters(component), PyBytes_GET_SIZE(component))
        return found.state, found.rule

    cdef cq_found find(self, int64_t state, const unsigned char* name, int64_t length) except *:
        """The same for part of a name."""
        cdef cq_reached reached
        cdef cq_found found
        if self.learn(state, name, length):
            return self.tables.steps[cq_step(&self.tables, state, name, length, &reached)].found
        found.state, found.rule = self.of.step(state, PyUnicode_DecodeUTF8(<const char*>name, length, NULL))
        return found

    cdef bint learn(self, int64_t state, const unsigned char* name, int64_t length) except -1:
        """See to it that a step is known here; whether it can be."""
        cdef cq_reached reached
        cdef cq_found found
        cdef int64_t place = cq_step(&self.tables, state, name, length, &reached)
        if place == CQ_BEYOND and self.learn_state(state):
            place = cq_step(&self.tables, state, name, length, &reached)
        if place == CQ_NO_STEP:
            found.state, found.rule = self.of.arrive([reached.nodes[at] for at in range(reached.count)])
            if cq_learn_step(&self.tables, reached.nodes, reached.count, found):
                raise MemoryError
        return place != CQ_BEYOND

    cdef bint learn_state(self, int64_t state) except -1:
        """Get to know a state; whether the plan is enough to step from it."""
        cdef list nodes = self.of.alive(state)
        if len(nodes) > CQ_MOST_NODES or not self.beyond.isdisjoint(nodes):
            return False
        cdef int32_t[::1] numbers = np.array(nodes + [0], np.int32)
        if cq_learn_state(&self.tables, state, &numbers[0], <int32_t>len(nodes)):
            raise MemoryError
        return True


cdef void* _copy_of(array) except NULL:
    """A copy of an array's memory, which the caller frees."""
    cdef bytes content = array.tobytes()
    cdef void* copied = malloc(PyBytes_GET_SIZE(content) + 8)
    if copied == NULL:
        raise MemoryError
    memcpy(copied, PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content))
    return copied
