/* Opening an image and the address arithmetic over it. See elf.h for the rules; symbols are in elf_symbol.c. */
#include "probe/elf_internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- SIGBUS guard: the owner of a file may cut it while it is mapped here --------------------------------------- */

enum { GUARD_MAX = 256 };
static struct {
    _Atomic uintptr_t start;
    _Atomic size_t size;
} guarded[GUARD_MAX];
static struct sigaction guard_old;

static bool guard_covers(uintptr_t address)
{
    for (unsigned i = 0; i < GUARD_MAX; i++) {
        uintptr_t start = atomic_load(&guarded[i].start);
        if (start && address >= start && address - start < atomic_load(&guarded[i].size))
            return true;
    }
    return false;
}

static void guard_on_sigbus(int sig, siginfo_t *info, void *context)
{
    UNUSED(context);
    uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)4095;
    int saved = errno;
    bool patched = guard_covers((uintptr_t)info->si_addr) &&
                   mmap((void *)page, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
    errno = saved;
    if (!patched)
        (void)sigaction(sig, &guard_old, NULL); /* the instruction runs again and meets the old handler */
}

int elf_guard(void)
{
    struct sigaction action = { .sa_sigaction = guard_on_sigbus, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, &guard_old) ? -errno : 0;
}

static void guard_add(const void *p, size_t size)
{
    for (unsigned i = 0; i < GUARD_MAX; i++) {
        uintptr_t none = 0;
        if (atomic_compare_exchange_strong(&guarded[i].start, &none, (uintptr_t)p)) {
            atomic_store(&guarded[i].size, size);
            return;
        }
    }
}

static void guard_del(const void *p)
{
    for (unsigned i = 0; i < GUARD_MAX; i++)
        if (atomic_load(&guarded[i].start) == (uintptr_t)p) {
            atomic_store(&guarded[i].size, 0);
            atomic_store(&guarded[i].start, 0);
            return;
        }
}

/* --- parts of the file ------------------------------------------------------------------------------------------ */

struct slice elf_file_part(const struct elf_image *image, u64 offset, u64 size)
{
    if (offset > image->file.n || size > image->file.n - offset)
        return slice_of(image->file.p, 0);
    return slice_of(image->file.p + offset, size);
}

struct slice elf_string_table(struct slice raw)
{
    while (raw.n && raw.p[raw.n - 1])
        raw.n--;
    return raw;
}

const char *elf_string_in(struct slice table, u64 offset) { return offset < table.n ? (const char *)table.p + offset : ""; }

static const struct elf_segment *segment_at(const struct elf_image *image, u64 vaddr)
{
    for (u32 i = 0; i < image->load_count; i++)
        if (vaddr >= image->loads[i].vaddr && vaddr - image->loads[i].vaddr < image->loads[i].mem_size)
            return &image->loads[i];
    return NULL;
}

struct slice elf_bytes(const struct elf_image *image, u64 vaddr, size_t max)
{
    const struct elf_segment *s = segment_at(image, vaddr);
    u64 skip = s ? vaddr - s->vaddr : 0;
    if (!s || skip >= s->file_size)
        return slice_of(image->file.p, 0);
    return elf_file_part(image, s->offset + skip, min_u64(max, s->file_size - skip));
}

int elf_u32(const struct elf_image *image, u64 vaddr, u32 *ret)
{
    struct slice s = elf_bytes(image, vaddr, sizeof(*ret));
    if (s.n < sizeof(*ret))
        return -ENOENT;
    memcpy(ret, s.p, sizeof(*ret));
    return 0;
}

int elf_u64(const struct elf_image *image, u64 vaddr, u64 *ret)
{
    struct slice s = elf_bytes(image, vaddr, sizeof(*ret));
    if (s.n < sizeof(*ret))
        return -ENOENT;
    memcpy(ret, s.p, sizeof(*ret));
    return 0;
}

const char *elf_string(const struct elf_image *image, u64 vaddr)
{
    struct slice s = elf_bytes(image, vaddr, 65536);
    return slice_find(s, 0) >= 0 ? (const char *)s.p : NULL;
}

int elf_vaddr_to_offset(const struct elf_image *image, u64 vaddr, u64 *ret)
{
    const struct elf_segment *s = segment_at(image, vaddr);
    if (!s || vaddr - s->vaddr >= s->file_size)
        return -ENOENT;
    *ret = s->offset + (vaddr - s->vaddr);
    return 0;
}

int elf_offset_to_vaddr(const struct elf_image *image, u64 offset, u64 *ret)
{
    const struct elf_segment *best = NULL;
    for (u32 i = 0; i < image->load_count; i++) {
        const struct elf_segment *s = &image->loads[i];
        if (offset >= s->offset && offset - s->offset < s->file_size && (!best || (s->flags & PF_X && !(best->flags & PF_X))))
            best = s;
    }
    if (!best)
        return -ENOENT;
    *ret = best->vaddr + (offset - best->offset);
    return 0;
}

int elf_load_delta(const struct elf_image *image, u64 offset, u64 size, bool exec, u64 *ret)
{
    u64 most = 0;
    for (u32 i = 0; i < image->load_count; i++) {
        const struct elf_segment *s = &image->loads[i];
        u64 low = max_u64(offset, s->offset), high = min_u64(offset + size, s->offset + s->file_size);
        if (!(s->flags & PF_X) == exec || low >= high || high - low <= most)
            continue;
        most = high - low;
        *ret = s->vaddr - s->offset;
    }
    return most ? 0 : -ENOENT;
}

bool elf_is_code(const struct elf_image *image, u64 vaddr)
{
    const struct elf_segment *s = segment_at(image, vaddr);
    return s && s->flags & PF_X && vaddr - s->vaddr < s->file_size;
}

enum elf_machine elf_machine(const struct elf_image *image) { return image->machine; }
bool elf_is_shared(const struct elf_image *image) { return image->type == ET_DYN; }
bool elf_has_interpreter(const struct elf_image *image) { return image->interpreter; }

u64 elf_load_vaddr(const struct elf_image *image)
{
    u64 low = image->load_count ? UINT64_MAX : 0;
    for (u32 i = 0; i < image->load_count; i++)
        low = min_u64(low, image->loads[i].vaddr);
    return low & ~4095ull;
}

/* --- headers ---------------------------------------------------------------------------------------------------- */

static void load_add(struct elf_image *image, const Elf64_Phdr *ph)
{
    bool sane = ph->p_vaddr + ph->p_memsz >= ph->p_vaddr && ph->p_offset <= image->file.n && ph->p_memsz;
    if (!sane || image->load_count == ELF_LOADS_MAX)
        return;
    image->loads[image->load_count++] = (struct elf_segment){
        .vaddr = ph->p_vaddr,
        .offset = ph->p_offset,
        .file_size = min_u64(min_u64(ph->p_filesz, ph->p_memsz), image->file.n - ph->p_offset),
        .mem_size = ph->p_memsz,
        .flags = ph->p_flags,
    };
}

static void program_header_read(struct elf_image *image, const Elf64_Phdr *ph)
{
    switch (ph->p_type) {
    case PT_LOAD:
        load_add(image, ph);
        break;
    case PT_INTERP:
        image->interpreter = true;
        break;
    case PT_DYNAMIC:
        image->dynamic = elf_file_part(image, ph->p_offset, ph->p_filesz);
        break;
    case PT_NOTE:
        if (image->note_count < ARRAY_LEN(image->notes))
            image->notes[image->note_count++] = elf_file_part(image, ph->p_offset, ph->p_filesz);
        break;
    case PT_GNU_EH_FRAME:
        image->eh_frame_hdr = ph->p_vaddr;
        break;
    }
}

static void sections_read(struct elf_image *image, const Elf64_Ehdr *eh)
{
    u64 count = eh->e_shnum, names = eh->e_shstrndx;
    if (eh->e_shentsize != sizeof(Elf64_Shdr) || !eh->e_shoff)
        return;
    struct slice first = elf_file_part(image, eh->e_shoff, sizeof(Elf64_Shdr));
    if (!first.n)
        return;
    Elf64_Shdr zero; /* large counts overflow into section 0 (gABI) */
    memcpy(&zero, first.p, sizeof(zero));
    count = count ? count : zero.sh_size;
    names = names == SHN_XINDEX ? zero.sh_link : names;
    if (count > UINT32_MAX)
        return;
    image->sections = elf_file_part(image, eh->e_shoff, count * sizeof(Elf64_Shdr));
    struct elf_section strings;
    if (elf_section_at(image, (unsigned)names, &strings))
        image->section_names = elf_string_table(strings.bytes);
}

static int headers_read(struct elf_image *image)
{
    Elf64_Ehdr eh;
    if (image->file.n < sizeof(eh))
        return -ENOEXEC;
    memcpy(&eh, image->file.p, sizeof(eh));
    bool ours = !memcmp(eh.e_ident, ELFMAG, SELFMAG) && eh.e_ident[EI_CLASS] == ELFCLASS64 &&
                eh.e_ident[EI_DATA] == ELFDATA2LSB && (eh.e_machine == EM_X86_64 || eh.e_machine == EM_AARCH64) &&
                (eh.e_type == ET_DYN || eh.e_type == ET_EXEC) && eh.e_phentsize == sizeof(Elf64_Phdr);
    if (!ours)
        return -ENOEXEC;
    image->machine = eh.e_machine == EM_X86_64 ? ELF_X86_64 : ELF_AARCH64;
    image->type = eh.e_type;
    struct slice phs = elf_file_part(image, eh.e_phoff, (u64)eh.e_phnum * sizeof(Elf64_Phdr));
    for (; phs.n >= sizeof(Elf64_Phdr); phs = slice_from(phs, sizeof(Elf64_Phdr))) {
        Elf64_Phdr ph;
        memcpy(&ph, phs.p, sizeof(ph));
        program_header_read(image, &ph);
    }
    sections_read(image, &eh);
    return image->load_count ? 0 : -ENOEXEC;
}

bool elf_section_at(const struct elf_image *image, unsigned i, struct elf_section *ret)
{
    Elf64_Shdr sh;
    if (i >= image->sections.n / sizeof(sh))
        return false;
    memcpy(&sh, image->sections.p + (size_t)i * sizeof(sh), sizeof(sh));
    *ret = (struct elf_section){
        .name = elf_string_in(image->section_names, sh.sh_name),
        .type = sh.sh_type,
        .vaddr = sh.sh_addr,
        .offset = sh.sh_offset,
        .size = sh.sh_size,
        .entry_size = sh.sh_entsize,
        .bytes = sh.sh_type == SHT_NOBITS ? slice_of(image->file.p, 0) : elf_file_part(image, sh.sh_offset, sh.sh_size),
    };
    return true;
}

bool elf_section(const struct elf_image *image, const char *name, struct elf_section *ret)
{
    struct elf_section s;
    for (unsigned i = 0; elf_section_at(image, i, &s); i++)
        if (!strcmp(s.name, name)) {
            *ret = s;
            return true;
        }
    return false;
}

static struct slice note_build_id(struct slice notes)
{
    while (notes.n >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr nh;
        memcpy(&nh, notes.p, sizeof(nh));
        u64 name = sizeof(nh), desc = name + (((u64)nh.n_namesz + 3) & ~3ull);
        u64 end = desc + (((u64)nh.n_descsz + 3) & ~3ull);
        if (desc + nh.n_descsz > notes.n)
            break;
        if (nh.n_type == NT_GNU_BUILD_ID && nh.n_namesz == 4 && !memcmp(notes.p + name, "GNU", 4))
            return slice_of(notes.p + desc, nh.n_descsz);
        notes = slice_from(notes, end);
    }
    return slice_of(NULL, 0);
}

struct slice elf_build_id(const struct elf_image *image)
{
    for (u32 i = 0; i < image->note_count; i++) {
        struct slice id = note_build_id(image->notes[i]);
        if (id.n)
            return id;
    }
    return slice_of(NULL, 0);
}

bool elf_dynamic_tag(const struct elf_image *image, s64 tag, u64 *ret)
{
    Elf64_Dyn d;
    for (struct slice s = image->dynamic; s.n >= sizeof(d); s = slice_from(s, sizeof(d))) {
        memcpy(&d, s.p, sizeof(d));
        if (d.d_tag == DT_NULL)
            break;
        if (d.d_tag == tag) {
            *ret = d.d_un.d_val;
            return true;
        }
    }
    return false;
}

const char *elf_soname(const struct elf_image *image)
{
    u64 offset;
    if (!elf_dynamic_tag(image, DT_SONAME, &offset))
        return NULL;
    return elf_string_in(image->dynsym.strings, offset);
}

const char *elf_runpath(const struct elf_image *image)
{
    u64 offset;
    if (!elf_dynamic_tag(image, DT_RUNPATH, &offset) && !elf_dynamic_tag(image, DT_RPATH, &offset))
        return NULL;
    return elf_string_in(image->dynsym.strings, offset);
}

const char *elf_needed(const struct elf_image *image, unsigned i)
{
    Elf64_Dyn d;
    for (struct slice s = image->dynamic; s.n >= sizeof(d); s = slice_from(s, sizeof(d))) {
        memcpy(&d, s.p, sizeof(d));
        if (d.d_tag == DT_NULL)
            break;
        if (d.d_tag == DT_NEEDED && !i--)
            return elf_string_in(image->dynsym.strings, d.d_un.d_val);
    }
    return NULL;
}

/* --- open and close --------------------------------------------------------------------------------------------- */

static int image_read(struct slice bytes, bool mapped, struct elf_image **ret)
{
    struct elf_image *image = calloc(1, sizeof(*image));
    if (!image)
        return -ENOMEM;
    image->file = bytes;
    int err = headers_read(image);
    if (err) {
        free(image);
        return err;
    }
    elf_symbols_setup(image);
    image->mapped = mapped;
    *ret = image;
    return 0;
}

int elf_open_bytes(struct slice bytes, struct elf_image **ret) { return image_read(bytes, false, ret); }

int elf_open(const char *path, struct elf_image **ret)
{
    cleanup(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(Elf64_Ehdr))
        return -ENOEXEC;
    /* Shared: the kernel writes its breakpoints into private mappings, and other tracers' are not the file's code. */
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    guard_add(p, (size_t)st.st_size);
    int err = image_read(slice_of(p, (size_t)st.st_size), true, ret);
    if (err) {
        guard_del(p);
        munmap(p, (size_t)st.st_size);
    }
    return err;
}

struct elf_image *elf_close(struct elf_image *image)
{
    if (image && image->mapped) {
        guard_del(image->file.p);
        munmap((void *)image->file.p, image->file.n);
    }
    free(image);
    return NULL;
}

void elf_closep(struct elf_image **image) { elf_close(*image); }
