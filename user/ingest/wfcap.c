/* Capture files: see wfcap.h for the layout. Writing is buffered stdio in the shard's thread (a frame costs a memcpy and
 * a CRC); reading keeps one fixed buffer and checks every length before it reads by it. */
#include "ingest/wfcap.h"
#include "bpf/abi.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

const u32 wfcap_abi = WF_ABI_VERSION;
static const char wfcap_magic[8] = { 'W', 'F', 'C', 'A', 'P', '\r', '\n', 0x1a };

struct file_head {
    char magic[8];
    u32 version, abi, header_len, header_crc;
};
struct frame_head {
    u32 len, kind, crc;
};

static u32 crc_of(const void *p, size_t n) { return (u32)crc32(crc32(0, NULL, 0), p, (uInt)n); }

/* --- header --- */

int wfcap_header_add(struct wfcap_header *h, const char *key, struct slice value)
{
    ptrdiff_t nul = slice_find(value, 0);
    size_t value_len = nul < 0 ? value.n : (size_t)nul, key_len = strlen(key);
    size_t need = h->len + key_len + 1 + value_len + 1;
    if (need > WFCAP_HEADER_MAX)
        return -EMSGSIZE;
    if (need > h->room) {
        size_t room = min_u64(max_u64(need * 2, 1024), WFCAP_HEADER_MAX);
        char *bigger = realloc(h->text, room);
        if (!bigger)
            return -ENOMEM;
        h->text = bigger;
        h->room = room;
    }
    char *at = h->text + h->len;
    memcpy(at, key, key_len);
    at[key_len] = '=';
    if (value_len)
        memcpy(at + key_len + 1, value.p, value_len);
    at[key_len + 1 + value_len] = 0;
    h->len = need;
    return 0;
}

void wfcap_header_done(struct wfcap_header *h)
{
    free(h->text);
    *h = (struct wfcap_header){ 0 };
}

bool wfcap_header_each(struct slice text, const char *prefix, size_t *at, struct slice *ret_key, struct slice *ret_value)
{
    while (*at < text.n) {
        struct slice rest = slice_from(text, *at);
        ptrdiff_t nul = slice_find(rest, 0);
        struct slice pair = nul < 0 ? rest : slice_head(rest, (size_t)nul);
        *at += pair.n + 1;
        ptrdiff_t eq = slice_find(pair, '=');
        if (eq < 0 || !slice_starts(slice_head(pair, (size_t)eq), prefix))
            continue;
        *ret_key = slice_from(slice_head(pair, (size_t)eq), strlen(prefix));
        *ret_value = slice_from(pair, (size_t)eq + 1);
        return true;
    }
    return false;
}

struct slice wfcap_header_get(struct slice text, const char *key)
{
    size_t at = 0;
    struct slice rest, value;
    while (wfcap_header_each(text, key, &at, &rest, &value))
        if (!rest.n)
            return value;
    return slice_of(NULL, 0);
}

/* --- writing --- */

struct wfcap_writer {
    FILE *f;
    int err; /* the first failure; nothing is written after it */
    struct wfcap_totals totals;
};

static int writer_fail(struct wfcap_writer *w)
{
    w->err = errno ? -errno : -EIO;
    return w->err;
}

static int put_bytes(struct wfcap_writer *w, const void *p, size_t n)
{
    errno = 0;
    return n && fwrite(p, 1, n, w->f) != n ? writer_fail(w) : 0;
}

static int put_frame(struct wfcap_writer *w, enum wfcap_kind kind, const void *p, size_t n)
{
    struct frame_head head = { .len = (u32)n, .kind = kind, .crc = crc_of(p, n) };
    int err = put_bytes(w, &head, sizeof(head));
    return err ? err : put_bytes(w, p, n);
}

int wfcap_create(const char *path, u32 abi, const struct wfcap_header *h, struct wfcap_writer **ret)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    FILE *f = fdopen(fd, "wb");
    struct wfcap_writer *w = f ? calloc(1, sizeof(*w)) : NULL;
    if (!w) {
        if (f)
            fclose(f);
        else
            close(fd);
        return -ENOMEM;
    }
    w->f = f;
    setvbuf(f, NULL, _IOFBF, 1 << 18);
    struct file_head head = {
        .version = WFCAP_VERSION, .abi = abi, .header_len = (u32)h->len, .header_crc = crc_of(h->text, h->len)
    };
    memcpy(head.magic, wfcap_magic, sizeof(head.magic));
    int err = put_bytes(w, &head, sizeof(head));
    if (!err)
        err = put_bytes(w, h->text, h->len);
    if (err) {
        wfcap_finish(w, NULL);
        return err;
    }
    *ret = w;
    return 0;
}

int wfcap_write_record(struct wfcap_writer *w, const void *record, size_t len)
{
    if (w->err)
        return 0;
    if (len > WFCAP_RECORD_MAX) {
        w->totals.oversized++;
        return 0;
    }
    w->totals.records++;
    w->totals.bytes += len;
    return put_frame(w, WFCAP_RECORD, record, len);
}

int wfcap_write_tick(struct wfcap_writer *w, const struct wfcap_tick *tick)
{
    if (w->err)
        return 0;
    w->totals.ticks++;
    return put_frame(w, WFCAP_TICK, tick, sizeof(*tick));
}

/* u32 number, rule, role; function NUL; file NUL */
enum { SITE_HEAD = 3 * sizeof(u32) };

int wfcap_write_site(struct wfcap_writer *w, const struct wfcap_site *site)
{
    u8 out[SITE_HEAD + 2 * (WFCAP_SITE_TEXT + 1)];
    const struct slice *texts[] = { &site->function, &site->file };
    size_t n = SITE_HEAD;
    if (w->err)
        return 0;
    memcpy(out, &site->number, sizeof(u32));
    memcpy(out + 4, &site->rule, sizeof(u32));
    memcpy(out + 8, &site->role, sizeof(u32));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct slice text = slice_head(*texts[i], WFCAP_SITE_TEXT);
        if (text.n)
            memcpy(out + n, text.p, text.n);
        n += text.n;
        out[n++] = 0;
    }
    return put_frame(w, WFCAP_SITE, out, n);
}

int wfcap_finish(struct wfcap_writer *w, struct wfcap_totals *ret)
{
    if (!w)
        return 0;
    if (!w->err)
        (void)put_frame(w, WFCAP_END, &w->totals, sizeof(w->totals));
    errno = 0;
    if (fclose(w->f) && !w->err)
        writer_fail(w);
    if (ret)
        *ret = w->totals;
    int err = w->err;
    free(w);
    return err;
}

/* --- reading --- */

struct wfcap_reader {
    FILE *f;
    size_t header_len;
    struct wfcap_totals totals;
    enum wfcap_status over; /* not OK: stays so */
    char header[WFCAP_HEADER_MAX];
    u64 frame[WFCAP_RECORD_MAX / sizeof(u64)]; /* u64: records are read in place, aligned */
};

static int head_check(struct wfcap_reader *r, const struct file_head *head, u32 abi, char *err, size_t err_size)
{
    if (head->version < 1 || head->version > WFCAP_VERSION) {
        snprintf(err, err_size, "capture format %u, this wftrace reads %u", head->version, WFCAP_VERSION);
        return -EPROTO;
    }
    if (head->abi != abi) {
        snprintf(err, err_size, "its records have layout %u, this wftrace reads %u: replay it with the version that made it",
                 head->abi, abi);
        return -EPROTO;
    }
    if (head->header_len > WFCAP_HEADER_MAX || fread(r->header, 1, head->header_len, r->f) != head->header_len ||
        crc_of(r->header, head->header_len) != head->header_crc) {
        snprintf(err, err_size, "the header is damaged or cut short");
        return -EBADMSG;
    }
    r->header_len = head->header_len;
    return 0;
}

int wfcap_open(FILE *f, u32 abi, struct wfcap_reader **ret, char *err, size_t err_size)
{
    struct wfcap_reader *r = calloc(1, sizeof(*r));
    if (!r) {
        fclose(f);
        snprintf(err, err_size, "no memory");
        return -ENOMEM;
    }
    r->f = f;
    struct file_head head;
    int code = 0;
    if (fread(&head, 1, sizeof(head), f) != sizeof(head) || memcmp(head.magic, wfcap_magic, sizeof(head.magic))) {
        snprintf(err, err_size, "not a wftrace capture file");
        code = -EBADMSG;
    }
    if (!code)
        code = head_check(r, &head, abi, err, err_size);
    if (code) {
        wfcap_close(r);
        return code;
    }
    *ret = r;
    return 0;
}

struct slice wfcap_header_text(const struct wfcap_reader *r) { return slice_of(r->header, r->header_len); }

static enum wfcap_status end_check(struct wfcap_reader *r, const struct frame_head *head)
{
    struct wfcap_totals said;
    if (head->len != sizeof(said))
        return WFCAP_CORRUPT;
    memcpy(&said, r->frame, sizeof(said));
    r->totals.oversized = said.oversized;
    return said.records == r->totals.records && said.ticks == r->totals.ticks && said.bytes == r->totals.bytes ? WFCAP_DONE
                                                                                                               : WFCAP_CORRUPT;
}

static enum wfcap_status frame_read(struct wfcap_reader *r, struct frame_head *head)
{
    if (fread(head, 1, sizeof(*head), r->f) != sizeof(*head))
        return WFCAP_TRUNCATED;
    if (head->len > WFCAP_RECORD_MAX || head->kind < WFCAP_RECORD || head->kind > WFCAP_SITE)
        return WFCAP_CORRUPT;
    if (fread(r->frame, 1, head->len, r->f) != head->len)
        return WFCAP_TRUNCATED;
    return crc_of(r->frame, head->len) == head->crc ? WFCAP_OK : WFCAP_CORRUPT;
}

static bool site_take(struct slice in, struct wfcap_site *ret)
{
    struct slice rest = slice_from(in, SITE_HEAD);
    ptrdiff_t function = slice_find(rest, 0);
    if (in.n < SITE_HEAD || function < 0)
        return false;
    struct slice file = slice_from(rest, (size_t)function + 1);
    if (!file.n || slice_find(file, 0) != (ptrdiff_t)file.n - 1)
        return false;
    memcpy(&ret->number, in.p, sizeof(u32));
    memcpy(&ret->rule, in.p + 4, sizeof(u32));
    memcpy(&ret->role, in.p + 8, sizeof(u32));
    ret->function = slice_head(rest, (size_t)function);
    ret->file = slice_head(file, file.n - 1);
    return true;
}

static enum wfcap_status frame_take(struct wfcap_reader *r, const struct frame_head *head, struct wfcap_frame *ret)
{
    if (head->kind == WFCAP_END)
        return end_check(r, head);
    if (head->kind == WFCAP_TICK) {
        if (head->len != sizeof(ret->tick))
            return WFCAP_CORRUPT;
        memcpy(&ret->tick, r->frame, sizeof(ret->tick));
        r->totals.ticks++;
    } else if (head->kind == WFCAP_SITE) {
        if (!site_take(slice_of(r->frame, head->len), &ret->site))
            return WFCAP_CORRUPT;
    } else {
        ret->record = slice_of(r->frame, head->len);
        r->totals.records++;
        r->totals.bytes += head->len;
    }
    ret->kind = (enum wfcap_kind)head->kind;
    return WFCAP_OK;
}

enum wfcap_status wfcap_next(struct wfcap_reader *r, struct wfcap_frame *ret)
{
    struct frame_head head;
    if (r->over != WFCAP_OK)
        return r->over;
    enum wfcap_status s = frame_read(r, &head);
    if (s == WFCAP_OK)
        s = frame_take(r, &head, ret);
    r->over = s;
    return s;
}

void wfcap_totals(const struct wfcap_reader *r, struct wfcap_totals *ret) { *ret = r->totals; }

struct wfcap_reader *wfcap_close(struct wfcap_reader *r)
{
    if (r) {
        fclose(r->f);
        free(r);
    }
    return NULL;
}
