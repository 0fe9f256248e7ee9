/* Which processes a selector means: pure comparisons with what proc.c read. */
#include "cli/target.h"

#include <fnmatch.h>

static bool glob_is(const char *glob, const char *text) { return *text && !fnmatch(glob, text, 0); }

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A glob with a space or slash means the whole command line, any other the program's or script's own name. */
static bool name_matches(const char *glob, const struct proc *p)
{
    if (strpbrk(glob, " /"))
        return glob_is(glob, p->args) || glob_is(glob, p->exe) || glob_is(glob, p->script);
    return glob_is(glob, p->comm) || glob_is(glob, last_part(p->exe)) || glob_is(glob, last_part(p->script));
}

static bool port_matches(u32 port, const struct proc *p)
{
    for (u32 i = 0; i < p->n_ports; i++)
        if (p->ports[i] == port)
            return true;
    return false;
}

/* The group itself or one below it; a path from the file system (/sys/fs/cgroup/…) is fine too. */
static bool cgroup_matches(const char *path, const struct proc *p)
{
    static const char mount[] = "/sys/fs/cgroup";
    if (!strncmp(path, mount, sizeof(mount) - 1))
        path += sizeof(mount) - 1;
    size_t n = strlen(path);
    while (n && path[n - 1] == '/')
        n--;
    return !strncmp(p->cgroup, path, n) && (p->cgroup[n] == 0 || p->cgroup[n] == '/');
}

static bool unit_matches(const char *name, const struct proc *p)
{
    size_t n = strlen(name);
    return p->unit[0] && (glob_is(name, p->unit) || (!strncmp(p->unit, name, n) && !strcmp(p->unit + n, ".service")));
}

bool selector_matches(const struct selector *s, const struct proc *p)
{
    switch (s->kind) {
    case SELECT_PID:
        return (u32)p->pid == s->number;
    case SELECT_NAME:
        return name_matches(s->text, p);
    case SELECT_PORT:
        return port_matches(s->number, p);
    case SELECT_CGROUP:
        return cgroup_matches(s->text, p);
    case SELECT_UNIT:
        return unit_matches(s->text, p);
    case SELECT_CONTAINER:
        return p->container[0] && !strncmp(p->container, s->text, strlen(s->text));
    }
    return false;
}

bool selectors_watch(const struct options *o)
{
    for (size_t i = 0; i < o->n_select; i++)
        if (o->select[i].kind != SELECT_PID)
            return true;
    return false;
}

bool selectors_need_ports(const struct options *o)
{
    for (size_t i = 0; i < o->n_select; i++)
        if (o->select[i].kind == SELECT_PORT)
            return true;
    return false;
}
