#!/usr/bin/env python3
"""merge.py FUZZER FOUND TREE: brings what a fuzzer found into the tree, as few and as small files as say most.

libFuzzer's own merge tells what each input covers (its control file). Files with a name of their own stay; of the others
those are taken, greedily, that add most edges, then most features, for their bytes, until there are 150 files or 300 KiB."""
import os, re, shutil, subprocess, sys, tempfile

FILES, BYTES = 150, 300 * 1024


def covered(control):
    """[(path, size, edges, features)] of a merge control file: a count, a count, the paths, then lines by number. A feature
    is an edge and how often it was taken, in eight steps."""
    lines = open(control, errors="replace").read().split("\n")
    count = int(lines[0])
    rows = [[path, 0, set(), set()] for path in lines[2:2 + count]]
    for line in lines[2 + count:]:
        word = line.split()
        if word and word[0] == "STARTED":
            rows[int(word[1])][1] = int(word[2])
        elif word and word[0] == "FT":
            rows[int(word[1])][3] = set(map(int, word[2:]))
            rows[int(word[1])][2] = {f >> 3 for f in rows[int(word[1])][3]}
    return rows


def greedy(rows, column, chosen, seen, room):
    rest = [r for r in rows if r not in chosen]
    while rest and len(chosen) < FILES:
        best = max(rest, key=lambda r: (len(r[column] - seen)) / (BYTES // FILES + r[1]))
        if not best[column] - seen:
            return room
        rest.remove(best)
        if best[1] <= room:
            chosen.append(best)
            seen |= best[column]
            room -= best[1]
        if len(rest) > 400:  # what adds nothing any more never will
            rest = [r for r in rest if r[column] - seen]
    return room


def main():
    fuzzer, found, tree = sys.argv[1:]
    named = lambda path: not re.fullmatch(r"[0-9a-f]{40}", os.path.basename(path))
    with tempfile.TemporaryDirectory() as tmp:
        control = os.path.join(tmp, "control")
        os.mkdir(os.path.join(tmp, "merged"))
        subprocess.run([fuzzer, "-set_cover_merge=1", "-max_len=8192", "-timeout=10", "-merge_control_file=" + control, os.path.join(tmp, "merged"), tree, found],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rows = covered(control)
        chosen = [r for r in rows if os.path.dirname(r[0]) == tree.rstrip("/") and named(r[0])]
        room = BYTES - sum(os.path.getsize(r[0]) for r in chosen)
        for column in (2, 3):
            room = greedy(rows, column, chosen, set().union(*(r[column] for r in chosen)), room)
        all_of = [len(set().union(*(r[c] for r in rows))) for c in (2, 3)]
        kept = [len(set().union(*(r[c] for r in chosen))) for c in (2, 3)]
        keep = {r[0]: open(r[0], "rb").read() for r in chosen}
    for name in os.listdir(tree):
        if not named(name):
            os.remove(os.path.join(tree, name))
    for path, data in keep.items():
        if not named(path):
            with open(os.path.join(tree, os.path.basename(path)), "wb") as f:
                f.write(data)
    print("%s: %d files, %d bytes; %d of %d edges, %d of %d features" % (
        os.path.basename(tree.rstrip("/")), len(keep), sum(map(len, keep.values())), kept[0], all_of[0], kept[1], all_of[1]))


if __name__ == "__main__":
    main()
