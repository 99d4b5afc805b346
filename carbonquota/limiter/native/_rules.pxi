# Rules made ready to be decided by in C.
#
# A node of the nested lists keeps the part of a counter's key that is always the same, and a rule its limits by tier, as
# numbers of the table's policies. What is made here is never changed but for what is remembered, so it may be read
# while other rules are being put in their place.

DEF REMEMBERED = 4096


cdef class Tally:
    """What became of the descriptors of one row: allowed, blocked, blocked but for a shadow."""

    cdef int64_t numbers[3]

    def add(self, int outcome):
        """Count one; `outcome` is a place in `counts`."""
        if not 0 <= outcome < 3:
            raise IndexError(outcome)
        cl_count_one(&self.numbers[outcome])

    def counts(self):
        """How many of each."""
        return (self.numbers[0], self.numbers[1], self.numbers[2])


cdef class RuleLimit:
    """One limit of a rule; `suffix` is the end of its counters' keys."""

    cdef int64_t number, cost
    cdef bytes suffix
    cdef object limit


cdef class RuleNode:
    """One place in the nested lists. `start` stands before the value in counters' keys, `shared` in its place."""

    cdef bytes start, shared
    cdef int64_t characters
    cdef dict exact, keys, by_glob
    cdef tuple globs
    cdef ReadyRule rule

    cdef RuleNode below(self, tuple entry):
        """The place that an entry leads to, as `rules.model.DescriptorNode.below` tells it."""
        found = self.exact.get(entry) if self.exact else None
        if found is not None:
            return <RuleNode>found
        if self.globs:
            found = self.by_glob.get(entry, self)
            if found is self:
                found = self.matched(entry)
            if found is not None:
                return <RuleNode>found
        return <RuleNode>self.keys.get(entry[0])

    cdef object matched(self, tuple entry):
        """The first glob's place, which is remembered for a bounded number of values."""
        key, value = entry
        found = None
        for name, matches, node in self.globs:
            if name == key and matches(value):
                found = node
                break
        if len(self.by_glob) >= REMEMBERED:
            self.by_glob = {}
        self.by_glob[entry] = found
        return found


cdef class ReadyRule:
    """A rule. Where it is not `is_plain`, its requests are decided elsewhere."""

    cdef Table table
    cdef object rule, name, unlimited
    cdef int kind
    cdef bint is_plain, is_shadow, challenge
    cdef tuple limits
    cdef dict by_tier, dimmed, tallies
    cdef Tally tally

    cdef tuple limits_of(self, str tier, object factor, object brownout):
        """The limits of a tier, multiplied where there is a factor; None where that is not remembered."""
        cdef object own = self.by_tier.get(tier) if self.by_tier and tier else None
        cdef tuple limits = self.limits if own is None else <tuple>own
        if factor is None:
            return limits
        # By the rule's own tiers, as a request may name any.
        key = (None if own is None else tier, factor)
        found = self.dimmed.get(key)
        if found is None:
            if len(self.dimmed) >= REMEMBERED:
                return None
            grants = self.rule.grants_of(tier)
            found = self.dimmed[key] = ready_limits(self.table, [brownout.dimmed(one, factor) for one in grants])
        return <tuple>found


cdef class ReadyDomain:
    """The rules of a domain, with its lists."""

    cdef object domain, allow, deny
    cdef bytes name
    cdef RuleNode root
    cdef bint replaces


cdef object told_unlimited(str name):
    return Status(OK, Reason.UNLIMITED, rule=name)


cdef tuple ready_limits(Table table, object grants):
    made = []
    cdef RuleLimit one
    for grant in grants:
        one = RuleLimit.__new__(RuleLimit)
        one.number = table.number(grant.policy)
        one.cost, one.limit = grant.cost, grant.limit
        one.suffix = b"\x1f" + grant.suffix.encode()
        made.append(one)
    return tuple(made)


cdef ReadyRule ready_rule(Table table, object rule):
    cdef ReadyRule one = ReadyRule.__new__(ReadyRule)
    one.table, one.rule, one.name, one.kind = table, rule, rule.name, rule.kind
    one.is_shadow, one.challenge = rule.shadow, rule.challenge
    one.unlimited = told_unlimited(rule.name)
    one.dimmed, one.tallies, one.tally = {}, {}, None
    every = [rule.grants, *rule.tiers.values()]
    in_flight = any(grant.policy.algorithm == IN_FLIGHT for grants in every for grant in grants)
    costly = any(grant.cost > MOST_PLAIN for grants in every for grant in grants)
    one.is_plain = not (rule.guarantees or rule.levels or in_flight or costly)
    if one.is_plain:
        one.limits = ready_limits(table, rule.grants)
        one.by_tier = {tier: ready_limits(table, grants) for tier, grants in rule.tiers.items()}
    return one


cdef RuleNode ready_node(Table table, object node, object key):
    cdef RuleNode one = RuleNode.__new__(RuleNode)
    one.start = f"\x1f{key}\x1f".encode("utf-8", "surrogatepass")
    one.characters = len(key) + 2
    one.shared = None
    if node.shared is not None:
        one.shared = escaped(node.shared).encode("utf-8", "surrogatepass")
        one.characters += len(escaped(node.shared))
    one.exact = {entry: ready_node(table, below, entry[0]) for entry, below in node.exact.items()}
    one.keys = {name: ready_node(table, below, name) for name, below in node.keys.items()}
    one.globs = tuple((name, pattern.fullmatch, ready_node(table, below, name)) for name, pattern, below in node.globs)
    one.by_glob = {}
    one.rule = None if node.rule is None else ready_rule(table, node.rule)
    return one


cdef ReadyDomain ready_domain(Table table, object domain):
    cdef ReadyDomain one = ReadyDomain.__new__(ReadyDomain)
    one.domain, one.name = domain, domain.name.encode("utf-8", "surrogatepass")
    one.allow, one.deny = domain.allow or None, domain.deny or None
    one.root = ready_node(table, domain.root, "")
    one.replaces = any(rule.replaces for rule in domain.rules())
    return one
