// When the scheduler runs a thread that is woken (sched(7)).
#ifndef CSTRATOLINUX_SCHEDULING_H
#define CSTRATOLINUX_SCHEDULING_H

#include <linux/sched.h>
#include <stdbool.h>
#include <stdint.h>

/// What the policy of threads is that nobody has chosen one for, and that of threads that never take a processor from others
/// as they are woken.
enum csl_scheduling_policy : uint32_t {
    CSL_SCHED_USUAL = SCHED_NORMAL,
    CSL_SCHED_LATE = SCHED_BATCH,
};

/// True if nobody has chosen a policy for the calling thread.
bool csl_has_usual_policy(void);

/// Has the calling thread woken late, or as usual. Returns 0 or a negative errno.
int csl_wake_late(bool late);

/// True if the calling thread is woken late as it asked to be.
bool csl_is_woken_late(void);

#endif
