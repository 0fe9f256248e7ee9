/* How the table of keys is written: a macro for each type of key. What is not said of a key is zero. */
#ifndef WF_CONFIG_TABLE_H
#define WF_CONFIG_TABLE_H

#include "config/config_internal.h"

#define AT(S, field) .offset = offsetof(struct config_##S, field)
#define BOOL(S, field, key, def, text, ...)                                                                                      \
    {                                                                                                                            \
        .name = key, .type = CONFIG_BOOL, AT(S, field), .fallback = def, .help = text, ##__VA_ARGS__                             \
    }
#define INT(S, field, key, lo, hi, def, text, ...)                                                                               \
    {                                                                                                                            \
        .name = key, .type = CONFIG_INT, AT(S, field), .min = lo, .max = hi, .fallback = def, .help = text, ##__VA_ARGS__        \
    }
#define NUMBER(S, field, key, lo, hi, def, text, ...)                                                                            \
    {                                                                                                                            \
        .name = key, .type = CONFIG_NUMBER, AT(S, field), .min = lo, .max = hi, .fallback = def, .help = text, ##__VA_ARGS__     \
    }
#define TEXT(S, field, key, def, text, ...)                                                                                      \
    {                                                                                                                            \
        .name = key, .type = CONFIG_TEXT, AT(S, field), .fallback = def, .help = text, ##__VA_ARGS__                             \
    }
#define WORD(S, field, key, list, def, text, ...)                                                                                \
    {                                                                                                                            \
        .name = key, .type = CONFIG_WORD, AT(S, field), .words = list, .fallback = def, .help = text, ##__VA_ARGS__              \
    }
#define TIME(S, field, key, lo, def, text, ...)                                                                                  \
    {                                                                                                                            \
        .name = key, .type = CONFIG_DURATION, AT(S, field), .min = lo, .fallback = def, .help = text, ##__VA_ARGS__              \
    }
#define SIZE(S, field, key, lo, def, text, ...)                                                                                  \
    {                                                                                                                            \
        .name = key, .type = CONFIG_SIZE, AT(S, field), .min = lo, .fallback = def, .help = text, ##__VA_ARGS__                  \
    }
#define TEXTS(S, field, key, text, ...)                                                                                          \
    {                                                                                                                            \
        .name = key, .type = CONFIG_TEXTS, AT(S, field), .help = text, ##__VA_ARGS__                                             \
    }
#define GROUP(S, field, key, g, text, ...)                                                                                       \
    {                                                                                                                            \
        .name = key, .type = CONFIG_GROUP, AT(S, field), .group = &config_group_##g, .help = text, ##__VA_ARGS__                 \
    }
#define GROUPS(S, field, key, g, text, ...)                                                                                      \
    {                                                                                                                            \
        .name = key, .type = CONFIG_GROUPS, AT(S, field), .group = &config_group_##g, .help = text, ##__VA_ARGS__                \
    }
#define ANY(key, why, text)                                                                                                      \
    {                                                                                                                            \
        .name = key, .type = CONFIG_ANY, .ignored = why, .help = text                                                            \
    }
#define DEFINE(tag, S, called, text, ...)                                                                                        \
    static const struct config_group config_group_##tag = { .id = #tag,                                                          \
                                                            .name = called,                                                      \
                                                            .help = text,                                                        \
                                                            .size = sizeof(struct config_##S),                                   \
                                                            .keys = tag##_keys,                                                  \
                                                            .n = ARRAY_LEN(tag##_keys),                                          \
                                                            ##__VA_ARGS__ }
#define SHARED(tag, S, called, text, ...)                                                                                        \
    const struct config_group config_group_##tag = { .id = #tag,                                                                 \
                                                     .name = called,                                                             \
                                                     .help = text,                                                               \
                                                     .size = sizeof(struct config_##S),                                          \
                                                     .keys = tag##_keys,                                                         \
                                                     .n = ARRAY_LEN(tag##_keys),                                                 \
                                                     ##__VA_ARGS__ }
#define ONE_OF   .one_of = true
#define REQUIRED .flags = KEY_REQUIRED
#define SECRET   .flags = KEY_SECRET
#define ALWAYS   .flags = KEY_ALWAYS
#define OURS     .flags = KEY_OURS

/* Of which several files speak. */
extern const struct config_group config_group_none, config_group_pair, config_group_selection, config_group_tls,
    config_group_basic_auth, config_group_span_exporter, config_group_log_exporter, config_group_metric_exporter,
    config_group_wftrace, config_group_sampler, config_group_stage, config_group_sampling;
extern const char *const config_severities[];
void config_check_endpoint(struct config_state *s, const struct config_node *at, const char *endpoint, bool plain);

#endif
