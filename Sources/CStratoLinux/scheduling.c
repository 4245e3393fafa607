#include "scheduling.h"

#include <errno.h>
#include <sched.h>

static _Thread_local bool is_late;

bool csl_has_usual_policy(void) {
    return sched_getscheduler(0) == CSL_SCHED_USUAL;
}

int csl_wake_late(bool late) {
    const struct sched_param none = {0};
    if (sched_setscheduler(0, late ? CSL_SCHED_LATE : CSL_SCHED_USUAL, &none) != 0) {
        return -errno;
    }
    is_late = late;
    return 0;
}

bool csl_is_woken_late(void) {
    return is_late;
}
