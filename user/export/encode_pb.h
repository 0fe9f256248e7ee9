/* What the protobuf encoders of the three signals share. Private to encode*.c.
 *
 * A message is built as protobuf-c structs in chunks of memory that are kept between batches, then packed into a buffer that is
 * kept as well. In the steady state nothing is allocated. */
#ifndef WF_EXPORT_ENCODE_PB_H
#define WF_EXPORT_ENCODE_PB_H

#include "export/encode.h"
#include "common.pb-c.h"
#include "resource.pb-c.h"

typedef Opentelemetry__Proto__Common__V1__AnyValue pb_value;
typedef Opentelemetry__Proto__Common__V1__ArrayValue pb_array;
typedef Opentelemetry__Proto__Common__V1__KeyValue pb_pair;
typedef Opentelemetry__Proto__Common__V1__InstrumentationScope pb_scope;
typedef Opentelemetry__Proto__Resource__V1__Resource pb_resource;

struct chunk;
struct encoder {
    struct chunk *first, *now;
    bool failed; /* no memory somewhere in this batch */
    struct grouping group;
    u8 *out;
    size_t room;
};

/* Forgets the last batch and groups this one. -ENOMEM */
int encoder_begin(struct encoder *e, const struct batch *b);
/* n > 0 elements, not zeroed, or NULL with e->failed set. They live until the next encoder_begin(). */
void *encoder_take(struct encoder *e, size_t n, size_t size);
/* An array of n pointers to n elements, as protobuf-c wants repeated fields. */
#define ENCODER_LIST(e, type, n, ret_list)                                                                                       \
    ({                                                                                                                           \
        type **list_ = encoder_take((e), (n), sizeof(type *)), *items_ = encoder_take((e), (n), sizeof(type));                   \
        for (size_t i_ = 0; items_ && i_ < (n); i_++)                                                                            \
            list_[i_] = &items_[i_];                                                                                             \
        *(ret_list) = items_ ? list_ : NULL;                                                                                     \
        items_;                                                                                                                  \
    })

static inline char *pb_text(const char *s) { return (char *)(uintptr_t)(s ? s : ""); }
static inline ProtobufCBinaryData pb_bytes(const u8 *p, size_t n) { return (ProtobufCBinaryData){ n, (u8 *)(uintptr_t)p }; }

/* The attributes v[0..n) and, when `key` is given, one more of text. Their number; *ret is untouched at 0. */
size_t encoder_pairs(struct encoder *e, const struct attr *v, size_t n, const char *key, const char *value, pb_pair ***ret);
pb_value *encoder_text(struct encoder *e, const char *s);                   /* NULL on failure */
pb_resource *encoder_resource(struct encoder *e, const struct resource *r); /* NULL on failure; r may be NULL */
pb_scope *encoder_scope(struct encoder *e, const char *scope);              /* NULL on failure */
/* Packs. -ENOMEM, also when anything failed before. */
int encoder_finish(struct encoder *e, const ProtobufCMessage *m, size_t head, struct slice *ret);

#endif
