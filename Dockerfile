# The runner image: Python's standard library, a shell, and our runner; nothing to install, build or become root with.
#
#   base    Debian bookworm: a registry's, or one made from Debian's packages (scripts/image decides)
#   rootfs  the files that we want, chosen one package at a time into /rootfs
#   system  those files, as one clean layer
#   runner  our own few files
#   last    the system, and the runner as a layer on it
#
# What is not named here is not in the image: that is how the package manager, perl, the documentation and every
# setuid program stay out. What changes often comes last, so that a rebuild takes seconds.

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS rootfs

# The base that we make ourselves brings these already, with the security updates of its day.
RUN if ! command -v python3 >/dev/null; then \
        export DEBIAN_FRONTEND=noninteractive \
        && apt-get update -q \
        && apt-get upgrade -qy \
        && apt-get install -qy --no-install-recommends python3 tzdata ca-certificates libstdc++6 libfaketime; \
    fi

SHELL ["/bin/sh", "-euc"]

# The files of the packages that we want. libgcc and libstdc++ are never linked by Python itself: the C library loads
# the first when a thread is cancelled, and compiled wheels in a recipe's layer need the second.
RUN mkdir -p /rootfs/usr/bin /rootfs/usr/sbin /rootfs/usr/lib /rootfs/usr/lib64; \
    for name in bin sbin lib lib64; do ln -s "usr/$name" "/rootfs/$name"; done; \
    version="$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')"; \
    dpkg -L libc6 libgcc-s1 libstdc++6 dash coreutils tzdata media-types python3-minimal \
        "python$version-minimal" "libpython$version-minimal" "libpython$version-stdlib" >/tmp/packaged; \
    grep -vE '^/usr/share/(doc|man|info|locale|lintian|bug|gdb|python3|gcc|binfmts|applications|pixmaps|perl5)(/|$)' \
        /tmp/packaged \
        | grep -vE '^/usr/share/zoneinfo/(right|posix)(/|$)|^/usr/bin/(py3|pdb|pydoc|pygettext|2to3)|/valgrind(/|$)' \
        | grep -vE '/(gconv|EXTERNALLY-MANAGED|sitecustomize\.py)(/|$)|^/etc/(python3|ld\.so\.conf\.d)' \
        | sort -u | while read -r path; do if [ -L "$path" ] || [ -f "$path" ]; then echo "$path"; fi; done >/tmp/files; \
    tar -C / --no-recursion -cPf - -T /tmp/files | tar -C /rootfs --keep-directory-symlink -xf - 2>/dev/null

# The shared libraries that those need.
RUN find /rootfs -type f \( -path '*/bin/*' -o -name '*.so' -o -name '*.so.*' \) -exec ldd {} + 2>/dev/null \
        | sed -nE 's/.*=> (\/[^ ]+) .*/\1/p' | sort -u >/tmp/libraries; \
    while read -r path; do \
        [ -e "/rootfs$path" ] || install -D -m 0644 "$(realpath "$path")" "/rootfs$path"; \
    done </tmp/libraries

# What programs look for by a fixed name, and the folders that the engine and we mount on: the root file system is
# read-only by then.
RUN mkdir -p /rootfs/etc/ssl/certs /rootfs/usr/lib/ssl /rootfs/opt; \
    cp /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/; \
    ln -s ../../../etc/ssl/certs/ca-certificates.crt /rootfs/usr/lib/ssl/cert.pem; \
    cp -L /usr/lib/os-release /rootfs/usr/lib/os-release; \
    ln -s ../usr/lib/os-release /rootfs/etc/os-release; \
    printf '%s\n' 'root:x:0:0:root:/nonexistent:/bin/false' \
        'nobody:x:65534:65534:nobody:/nonexistent:/bin/false' >/rootfs/etc/passwd; \
    printf '%s\n' 'root:x:0:' 'nogroup:x:65534:' >/rootfs/etc/group; \
    printf '%s\n' 'passwd: files' 'group: files' 'hosts: files' >/rootfs/etc/nsswitch.conf; \
    mkdir -p /rootfs/dev /rootfs/proc /rootfs/sys /rootfs/run; \
    mkdir -p /rootfs/package /rootfs/layer /rootfs/base /rootfs/in /rootfs/egress /rootfs/scratch /rootfs/tmp; \
    chmod 1777 /rootfs/tmp

# For a policy's `clock`: preloaded for the whole container then, the runner included. Its deadlines are monotonic, and
# that clock is left alone; but this version's clock_nanosleep() takes what time.sleep() asks of it for a time of the
# other clock and fails. With a letter of its name changed in the table of names, the C library's own is found.
RUN python3 -c 'import glob; \
    [path] = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"); content = open(path, "rb").read(); \
    changed = content.replace(b"\0clock_nanosleep\0", b"\0Clock_nanosleep\0", 1); \
    open("/rootfs/opt/libfaketime.so", "wb").write(changed)'; \
    chmod 0644 /rootfs/opt/libfaketime.so

# Byte code that is never checked against its source, so that a start neither compiles nor compares; then the promises,
# checked: nothing setuid, no file capability, no broken link, and every compiled module loads.
RUN python3 -m compileall -q -s /rootfs -p / --invalidation-mode unchecked-hash /rootfs/usr/lib/python3*; \
    find /rootfs -exec touch -h -d @1700000000 {} +; \
    [ -z "$(find /rootfs -perm /6000)" ]; \
    [ -z "$(find /rootfs -xtype l)" ]; \
    python3 -c 'import os; [exit(f"{name} has {xattr}") for at, _, names in os.walk("/rootfs") for name in names \
        for xattr in os.listxattr(os.path.join(at, name), follow_symlinks=False)]'; \
    chroot /rootfs /usr/bin/python3 -I -B -c 'import bz2, ctypes, curses, dbm.ndbm, hashlib, lzma, readline, sqlite3, ssl, \
        uuid, zlib, zoneinfo; zoneinfo.ZoneInfo("Europe/Paris"); ssl.create_default_context(); \
        ctypes.CDLL("libgcc_s.so.1"); ctypes.CDLL("libstdc++.so.6")'; \
    LD_PRELOAD=/opt/libfaketime.so FAKETIME=86400 FAKETIME_FMT=%s FAKETIME_DONT_FAKE_MONOTONIC=1 \
        chroot /rootfs /usr/bin/python3 -s -P -B -c 'import time; time.sleep(0.1); exit(time.time() != 86400.0)'


FROM scratch AS system

COPY --from=rootfs /rootfs/ /


FROM rootfs AS runner

# In this order: what host and container share comes last.
COPY runner_image/ /opt/runner/
COPY framework0/ /opt/runner/library/
COPY isolation/contract.py isolation/mapped.py isolation/problem.py isolation/taken.py /opt/runner/isolation/
COPY isolation/rules/combine.py /opt/runner/isolation/rules/
RUN touch /opt/runner/isolation/__init__.py /opt/runner/isolation/rules/__init__.py; \
    chown -R 0:0 /opt/runner; \
    chmod -R u=rwX,go=rX /opt/runner; \
    python3 -m compileall -q --invalidation-mode unchecked-hash /opt/runner; \
    find /opt/runner -exec touch -h -d @1700000000 {} +


FROM system

COPY --from=runner /opt/runner/ /opt/runner/

ENV PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
USER 65534:65534
ENTRYPOINT ["/usr/bin/python3", "-s", "-P", "-B", "-S", "/opt/runner/run.py"]
