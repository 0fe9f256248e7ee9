#include "self/health.h"

#define SILENCE_NS (10 * NSEC_PER_SEC)

static u64 beat;
static bool is_ready;

void health_beat(u64 now_boot) { __atomic_store_n(&beat, now_boot, __ATOMIC_RELAXED); }
void health_ready(bool r) { __atomic_store_n(&is_ready, r, __ATOMIC_RELEASE); }
bool health_is_ready(void) { return __atomic_load_n(&is_ready, __ATOMIC_ACQUIRE); }

bool health_alive(u64 now_boot)
{
    u64 last = __atomic_load_n(&beat, __ATOMIC_RELAXED);
    return !last || now_boot < last + SILENCE_NS;
}
