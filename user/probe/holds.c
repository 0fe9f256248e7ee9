/* Who uses an image. A probe on a file stays for every later process that maps it; on a host where programs come and go, and
 * never come again (containers, builds), that would be one more link, and one more inode that the kernel cannot give up, for
 * each of them for ever. So every process holds the images that it maps and that are probed, a Python what it loads later,
 * and one that nobody has held for a while is forgotten, its links closed. What comes back meanwhile finds it as it was.
 *
 * Images are named by pointer and serial: values of the table do not move, and one that was given up has another serial. */
#include "probe/internal.h"
#include "self/ledger.h"

enum { HOLDS_MAX = 512, IDLE_MS = 65 * 60 * 1000 }; /* an hourly job is met by its probes */

struct image *image_deref(const struct image_ref *r) { return r->image && r->image->serial == r->serial ? r->image : NULL; }

static bool worth_holding(const struct image *image) { return image->links.n || image->n_sites || image->needs.n; }

static bool refs_have(const struct image_refs *r, const struct image *image)
{
    for (u32 i = 0; i < r->n; i++)
        if (r->v[i].image == image && r->v[i].serial == image->serial)
            return true;
    return false;
}

void image_hold(struct probes *p, struct image_refs *r, struct image *image)
{
    UNUSED(p);
    if (!worth_holding(image) || r->n == HOLDS_MAX || refs_have(r, image))
        return;
    if (r->n == r->room) {
        u32 room = r->room ? r->room * 2 : 4;
        struct image_ref *v = reallocarray(r->v, room, sizeof(*v));
        if (!v)
            return;
        r->v = v;
        r->room = room;
    }
    r->v[r->n++] = (struct image_ref){ image, image->serial };
    image->users++;
}

void image_idle(struct probes *p, struct image *image)
{
    u64 now = clock_boot_ns(), due = now + (p->options.image_idle_ms ? p->options.image_idle_ms : IDLE_MS) * NSEC_PER_MSEC;
    image->idle_since = now;
    if (worth_holding(image) && !image->pinned && (!p->idle_due || due < p->idle_due))
        p->idle_due = due;
}

void images_release(struct probes *p, struct image_refs *r)
{
    for (u32 i = 0; i < r->n; i++) {
        struct image *image = image_deref(&r->v[i]);
        if (image && !--image->users)
            image_idle(p, image);
    }
    free(r->v);
    *r = (struct image_refs){ 0 };
}

void images_copy(struct probes *p, struct image_refs *to, const struct image_refs *from)
{
    for (u32 i = 0; i < from->n; i++) {
        struct image *image = image_deref(&from->v[i]);
        if (image)
            image_hold(p, to, image);
    }
}

struct sweep {
    struct probes *p;
    u64 now, next; /* when the next one is due, 0: none will be */
};

static bool sweep_one(void *arg, const void *key, void *value)
{
    struct sweep *s = arg;
    const struct image *image = value;
    if (image->users || image->pinned || !worth_holding(image))
        return true;
    u64 due = image->idle_since + (s->p->options.image_idle_ms ? s->p->options.image_idle_ms : IDLE_MS) * NSEC_PER_MSEC;
    if (due > s->now) {
        s->next = s->next ? min_u64(s->next, due) : due;
        return true;
    }
    s->next = s->now;
    table_del(s->p->images, key);
    return false;
}

/* One at a time: what the closer has not begun with can still be used again, and nobody waits long for it. */
void images_sweep(struct probes *p)
{
    struct sweep s = { .p = p };
    if (!p->idle_due || (s.now = clock_boot_ns()) < p->idle_due || links_retiring(p) || sites_retiring(p))
        return;
    table_each(p->images, sweep_one, &s);
    p->idle_due = s.next;
}

static bool room_one(void *arg, const void *key, void *value)
{
    struct probes *p = arg;
    const struct image *image = value;
    if (image->users || image->pinned)
        return true;
    ledger_add(images_evicted, 1);
    table_del(p->images, key);
    return false;
}

void images_room(struct probes *p) { table_each(p->images, room_one, p); }
