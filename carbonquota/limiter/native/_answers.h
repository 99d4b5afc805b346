/* What an answer is made of: counts that threads add to, and tuples with names. */
#ifndef CARBONQUOTA_LIMITS_ANSWERS_H
#define CARBONQUOTA_LIMITS_ANSWERS_H

#include <Python.h>
#include <stdint.h>

static inline void cl_count_one(int64_t *number) { __atomic_fetch_add(number, 1, __ATOMIC_RELAXED); }

/* A tuple of a class that is derived from it, still without values. */
static inline PyObject *cl_new_tuple(PyObject *kind, Py_ssize_t count)
{
    return ((PyTypeObject *)kind)->tp_alloc((PyTypeObject *)kind, count);
}

#endif
