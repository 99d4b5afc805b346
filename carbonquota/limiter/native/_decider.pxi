# A request decided by rules in one step: matched, charged, counted and answered, as `plan.py` and `service.py` do it in
# several.
#
# Theory of operation. A descriptor is walked down the nested lists, and the key of its counters is put together on
# the stack on the way, so nothing is made but the answer. All charges are then made as one step. What is rare, or
# told in more words, is not decided here but by the steps: None is the answer then, and nothing was done.

DEF MOST = 8
DEF KEY_BYTES = 832
DEF KEY_CHARACTERS = 200

cdef int64_t MOST_PLAIN = 2**31
"""Hits, and what a hit costs, so that the product is far from any bound."""


cdef struct cl_asked:
    # One descriptor: its rule, NULL where there is none, with its limits; and where its charges stand.
    PyObject* rule
    PyObject* limits
    int first, last


cdef struct cl_plan:
    cl_charge charges[MOST]
    cl_digest digests[MOST]
    cl_asked asked[MOST]
    int count, asked_count


cdef class RuleDecider:
    """Decides by rules on a table's counters; `apply` tells it the rules.

    `tally_of` gives the `Tally` of a rule, route and tier, `refused` is told of each domain and request that did not
    pass. `bans` has who is denied, `brownout` the factors, `switches` which of these there are. `in_steps` decides on
    requests that are not decided here.
    """

    cdef Table table
    cdef object tally_of, refused, brownout, in_steps
    cdef dict bans, switches, domains
    cdef ReadyRule nobody

    def __cinit__(self, Table table, tally_of, refused, dict bans, brownout, in_steps):
        self.table, self.tally_of, self.refused = table, tally_of, refused
        self.bans, self.brownout, self.switches = bans, brownout, brownout.switches
        self.in_steps = in_steps
        self.domains = {}
        self.nobody = ReadyRule.__new__(ReadyRule)
        self.nobody.name, self.nobody.tallies, self.nobody.tally = "", {}, None

    def apply(self, rules):
        """Decide by other rules from here on."""
        self.domains = {name: ready_domain(self.table, domain) for name, domain in rules.domains.items()}

    def check(self, request):
        """The answer to a request."""
        answer = self.tried(request)
        return self.in_steps(request) if answer is None else answer

    cdef object tried(self, object request):
        """The answer to a request; None where it has to be decided in steps, for nothing was done then."""
        cdef ReadyDomain domain = <ReadyDomain>self.domains.get(request[0]) if type(request) is A_REQUEST else None
        cdef cl_plan plan
        if domain is None:
            return None
        cdef tuple descriptors = <tuple>(<tuple>request)[1], entries
        cdef str tier = tier_of(<tuple>request)
        cdef Py_ssize_t count = len(descriptors), at
        if count == 1:
            return self.check_alone(domain, <tuple>request, <tuple>descriptors[0], tier)
        if count == 0 or count > MOST or (count > 1 and domain.replaces) or self.is_named(domain, <tuple>request):
            return None
        factor = self.brownout.factor(tier) if self.switches else None
        plan.count = plan.asked_count = 0
        for at in range(count):
            descriptor = descriptors[at]
            if type(descriptor) is not A_DESCRIPTOR or (<tuple>descriptor)[2] is not None:
                return None
            hits = (<tuple>descriptor)[1]
            if hits is None:
                hits = (<tuple>request)[2]
            if not self.plan_one(&plan, domain, <tuple>(<tuple>descriptor)[0], hits, tier, factor):
                return None
        return self.answer(&plan, domain, <tuple>request, tier, self.decide(&plan) == 0)

    def check_one(self, str domain, tuple entries, hits=1):
        """The answer to a request with one descriptor."""
        cdef ReadyDomain own = <ReadyDomain>self.domains.get(domain)
        cdef cl_plan plan
        cdef QuickAnswer made
        cdef str tier = ""
        if own is None or own.deny is not None or own.allow is not None or self.bans or self.switches:
            return self.check(Request(domain, (Descriptor(entries),), hits))
        if len(entries) == 1 and (<tuple>entries[0])[0] == "tier":
            tier = <str>(<tuple>entries[0])[1]
        plan.count = plan.asked_count = 0
        if not self.plan_one(&plan, own, entries, hits, tier, None):
            return self.in_steps(Request(domain, (Descriptor(entries),), hits))
        if plan.count != 1:
            request = Request(domain, (Descriptor(entries),), hits)
            return self.answer(&plan, own, <tuple>request, tier, self.decide(&plan) == 0)
        made = self.quick(&plan, "", tier)
        if made.is_over:
            self.refused(own.domain, Request(domain, (Descriptor(entries),), hits))
        return made

    def allows(self, str domain, tuple entries, hits=1):
        """Whether a request with one descriptor passes."""
        cdef ReadyDomain own = <ReadyDomain>self.domains.get(domain)
        cdef cl_plan plan
        cdef str tier = ""
        if own is None or own.deny is not None or own.allow is not None or self.bans or self.switches:
            return self.check(Request(domain, (Descriptor(entries),), hits)).allowed
        if len(entries) == 1 and (<tuple>entries[0])[0] == "tier":
            tier = <str>(<tuple>entries[0])[1]
        plan.count = plan.asked_count = 0
        if not self.plan_one(&plan, own, entries, hits, tier, None):
            return self.in_steps(Request(domain, (Descriptor(entries),), hits)).allowed
        return self.passes(&plan, own, entries, hits, tier, self.decide(&plan) != 0)

    cdef object passes(self, cl_plan* plan, ReadyDomain domain, tuple entries, object hits, str tier, bint made):
        """Count what was decided, and tell whether it passes."""
        cdef ReadyRule rule = self.nobody
        cdef int at, outcome = 0
        if plan.asked[0].rule != NULL:
            rule = <ReadyRule>plan.asked[0].rule
            for at in range(plan.count):
                if not plan.charges[at].outcome.fits:
                    outcome = 2 if rule.is_shadow else 1
        cl_count_one(&self.tally(rule, "", tier).numbers[outcome])
        if not made:
            self.refused(domain.domain, Request(domain.domain.name, (Descriptor(entries),), hits))
            return False
        return True

    cdef object check_alone(self, ReadyDomain domain, tuple request, object descriptor, str tier):
        """The answer to a request with one descriptor, as most are."""
        cdef cl_plan plan
        if type(descriptor) is not A_DESCRIPTOR or (<tuple>descriptor)[2] is not None or self.is_named(domain, request):
            return None
        factor = self.brownout.factor(tier) if self.switches else None
        hits = (<tuple>descriptor)[1]
        if hits is None:
            hits = request[2]
        plan.count = plan.asked_count = 0
        if not self.plan_one(&plan, domain, <tuple>(<tuple>descriptor)[0], hits, tier, factor):
            return None
        if plan.count != 1:
            return self.answer(&plan, domain, request, tier, self.decide(&plan) == 0)
        cdef QuickAnswer made = self.quick(&plan, <str>request[6], tier)
        if made.is_over:
            self.refused(domain.domain, request)
        return made

    cdef QuickAnswer quick(self, cl_plan* plan, str route, str tier):
        """Decide on one charge, and count it."""
        # While these are made and found, the slot is on its way, and then the record.
        cdef QuickAnswer made = QuickAnswer.__new__(QuickAnswer)
        cdef ReadyRule rule = <ReadyRule>plan.asked[0].rule
        cdef Tally tally = self.tally(rule, route, tier)
        cl_prefetch_record(&self.table.table, plan.digests[0])
        made.rule, made.limit = rule, <RuleLimit>(<tuple>plan.asked[0].limits)[0]
        made.is_over = self.decide(plan) == 0
        made.outcome = plan.charges[0].outcome
        cl_count_one(&tally.numbers[0 if made.outcome.fits else 1 if made.is_over else 2])
        return made

    cdef bint is_named(self, ReadyDomain domain, tuple request) except -1:
        """Whether the request is by somebody on a list, or who is denied for a while."""
        if domain.deny is not None and domain.deny.has(request):
            return True
        if domain.allow is not None and domain.allow.has(request):
            return True
        return bool(self.bans) and identity_of(request) in self.bans

    cdef bint plan_one(
        self, cl_plan* plan, ReadyDomain domain, tuple entries, object hits, str tier, object factor
    ) except -1:
        """Add what a descriptor asks for; False where it has to be decided in steps."""
        cdef unsigned char key[KEY_BYTES]
        cdef int64_t length = PyBytes_GET_SIZE(domain.name), characters = length, number
        cdef RuleNode node = domain.root
        cdef RuleLimit limit
        cdef tuple limits
        cdef cl_charge* charge
        cdef int state
        if length > KEY_CHARACTERS:
            return False
        memcpy(key, PyBytes_AS_STRING(domain.name), <size_t>length)
        for entry in entries:
            if type(entry) is not tuple or len(<tuple>entry) != 2:
                return False
            node = node.below(<tuple>entry)
            if node is None:
                break
            if not appended(key, &length, &characters, node, (<tuple>entry)[1]):
                return False
        cdef cl_asked* asked = &plan.asked[plan.asked_count]
        plan.asked_count += 1
        asked.rule = asked.limits = NULL
        asked.first = asked.last = plan.count
        if node is None or node.rule is None:
            return True
        if not node.rule.is_plain or type(hits) is not int:
            return False
        number = PyLong_AsLongLongAndOverflow(hits, &state)
        if state != 0 or number > MOST_PLAIN:
            return False
        limits = node.rule.limits_of(tier, factor, self.brownout)
        if limits is None or plan.count + len(limits) > MOST:
            return False
        # The rules live as long as the domain, and what they remember as long as they do.
        asked.rule, asked.limits = <PyObject*>node.rule, <PyObject*>limits
        for limit in limits:
            if characters + PyBytes_GET_SIZE(limit.suffix) > KEY_CHARACTERS:
                return False
            memcpy(key + length, PyBytes_AS_STRING(limit.suffix), <size_t>PyBytes_GET_SIZE(limit.suffix))
            charge = &plan.charges[plan.count]
            charge.number, charge.kind = limit.number, node.rule.kind
            if charge.kind & QUOTA and plan.count == asked.first:
                charge.kind |= QUOTA_BEGINS
            charge.hits = max(number, 0) * limit.cost
            plan.digests[plan.count] = cl_hash(self.table.table.secret, key, length + PyBytes_GET_SIZE(limit.suffix))
            # While the rest is found, the slot is on its way.
            cl_prefetch_slot(&self.table.table, plan.digests[plan.count])
            plan.count += 1
        asked.last = plan.count
        return True

    cdef int decide(self, cl_plan* plan) except -1:
        """Make all charges or none; whether they were made."""
        cdef int64_t now = self.table.now()
        cdef int made = 1
        if plan.count == 0:
            return 1
        cq_wait_for_lock(&self.table.lock)
        if plan.count == 1 and not plan.charges[0].kind & CHARGE_DENIED:
            plan.charges[0].outcome = cl_check(
                &self.table.table, plan.digests[0], plan.charges[0].number, now, plan.charges[0].hits
            )
            made = plan.charges[0].outcome.fits or plan.charges[0].kind & SHADOW
        else:
            made = self.table.decide_locked(plan.charges, plan.digests, plan.count, now, 1)
        cq_unlock(&self.table.lock)
        if made < 0:
            raise ValueError(f"{plan.count} charges are more than the table has room for")
        return made != 0

    cdef object answer(self, cl_plan* plan, ReadyDomain domain, tuple request, str tier, bint is_over):
        """Count what was decided, and tell it."""
        cdef tuple statuses = PyTuple_New(plan.asked_count)
        cdef bint challenge = False
        cdef int at, outcome
        cdef ReadyRule rule
        for at in range(plan.asked_count):
            outcome = 0
            if plan.asked[at].rule == NULL:
                rule, status = self.nobody, UNRULED
            else:
                rule = <ReadyRule>plan.asked[at].rule
                status = rule.unlimited
                if plan.asked[at].first != plan.asked[at].last:
                    status = status_of(plan, &plan.asked[at], rule, &outcome)
                if outcome == 1:
                    challenge = challenge or rule.challenge
            cl_count_one(&self.tally(rule, <str>request[6], tier).numbers[outcome])
            put(statuses, at, status)
        if is_over:
            self.refused(domain.domain, request)
        made = cl_new_tuple(AN_ANSWER, 4)
        put(made, 0, OVER if is_over else OK)
        put(made, 1, statuses)
        put(made, 2, challenge)
        put(made, 3, NO_LEASES)
        return made

    cdef Tally tally(self, ReadyRule rule, str route, str tier):
        """Where a rule's descriptors are counted."""
        if not route and not tier:
            if rule.tally is None:
                rule.tally = self.tally_of(rule.name, "", "")
            return rule.tally
        row = (route, tier)
        found = rule.tallies.get(row)
        if found is None:
            found = self.tally_of(rule.name, route, tier)
            if len(rule.tallies) >= REMEMBERED:
                rule.tallies = {}
            rule.tallies[row] = found
        return <Tally>found


cdef bint appended(
    unsigned char* key, int64_t* length, int64_t* characters, RuleNode node, object value
) except -1:
    """Put an entry behind a counter's key; False where its place is elsewhere: it is long, or has to be escaped."""
    cdef Py_ssize_t size, at
    cdef const char* text
    cdef unsigned char one, special = 0
    cdef unsigned char* end
    if type(value) is not str:
        return False
    characters[0] += node.characters
    if node.shared is None:
        characters[0] += len(<str>value)
    # A character has four bytes at most, so there is room for so many.
    if characters[0] > KEY_CHARACTERS:
        return False
    memcpy(key + length[0], PyBytes_AS_STRING(node.start), <size_t>PyBytes_GET_SIZE(node.start))
    length[0] += PyBytes_GET_SIZE(node.start)
    end = key + length[0]
    if node.shared is not None:
        size = PyBytes_GET_SIZE(node.shared)
        memcpy(end, PyBytes_AS_STRING(node.shared), <size_t>size)
        length[0] += size
        return True
    if PyUnicode_IS_ASCII(value):
        text = PyUnicode_AsUTF8AndSize(value, &size)
    else:
        try:
            text = PyUnicode_AsUTF8AndSize(value, &size)
        except UnicodeEncodeError:
            return False
    for at in range(size):
        one = <unsigned char>text[at]
        end[at] = one
        special |= (one & 0xFE) == 0x1E
    length[0] += size
    return not special


cdef str tier_of(tuple request):
    """As `plan.tier_of` tells it."""
    cdef tuple entries
    if request[3]:
        return <str>request[3]
    for descriptor in <tuple>request[1]:
        entries = <tuple>(<tuple>descriptor)[0]
        if len(entries) == 1 and (<tuple>entries[0])[0] == "tier":
            return <str>(<tuple>entries[0])[1]
    return ""


cdef object status_of(cl_plan* plan, cl_asked* asked, ReadyRule rule, int* outcome):
    """What became of a descriptor, by that one of its limits which leaves least."""
    cdef int at, tells = asked.first
    cdef cl_outcome* told = &plan.charges[tells].outcome
    for at in range(asked.first + 1, asked.last):
        if leaves_less(&plan.charges[at].outcome, told):
            tells, told = at, &plan.charges[at].outcome
    outcome[0] = 0 if told.fits else 2 if rule.is_shadow else 1
    return told_status(rule, <RuleLimit>(<tuple>asked.limits)[tells - asked.first], told)


cdef bint leaves_less(const cl_outcome* one, const cl_outcome* other) noexcept nogil:
    """As `plan._order` tells it."""
    if one.fits != other.fits:
        return other.fits
    if one.fits:
        return one.remaining < other.remaining
    # Where waiting does not help, that is the longest wait.
    if one.retry < 0 or other.retry < 0:
        return other.retry >= 0
    return one.retry > other.retry


cdef inline void put(object made, Py_ssize_t at, object value):
    """Put a value into a tuple that nobody has seen yet."""
    Py_INCREF(value)
    PyTuple_SET_ITEM(made, at, value)
