#!/bin/sh
# Makes the root file system of each image, without its program: roots.sh LISTS ROOTS. A list names the packages whose files
# go in, one a line. Neither a shell nor a package manager comes with them; what each package is stands in
# /var/lib/dpkg/status.d, where scanners look for it.
set -eu
lists=$1 roots=$2

debs=$(mktemp -d)
cd "$debs"
# shellcheck disable=SC2046 # a list of words
apt-get download -q $(sort -u "$lists"/*.txt)
for list in "$lists"/*.txt; do
    root=$roots/$(basename "$list" .txt)
    mkdir -p "$root/var/lib/dpkg/status.d"
    # First, as it has the links that make /lib a part of /usr.
    for package in base-files $(grep -vx base-files "$list"); do
        dpkg-deb --extract "$package"_*.deb "$root"
        dpkg-deb --field "$package"_*.deb >"$root/var/lib/dpkg/status.d/$package"
        dpkg-deb --fsys-tarfile "$package"_*.deb | tar --list --quoting-style=literal | sed 's|^\./||; /^$/d' >"$root/var/lib/dpkg/status.d/$package.list"
    done
    find "$root/usr/share/doc" -type f ! -name copyright -delete
    rm -rf "$root"/usr/share/man "$root"/usr/share/info "$root"/usr/share/lintian "$root"/usr/share/locale \
        "$root"/usr/share/bug "$root"/usr/lib/x86_64-linux-gnu/gconv "$root"/usr/lib/systemd "$root"/etc/update-motd.d \
        "$root"/usr/share/dpkg "$root"/usr/sbin/update-ca-certificates
    if [ -d "$root/usr/share/ca-certificates" ]; then
        mkdir -p "$root/etc/ssl/certs"
        find "$root/usr/share/ca-certificates" -name '*.crt' | LC_ALL=C sort | xargs cat >"$root/etc/ssl/certs/ca-certificates.crt"
    fi
    # Who owns what the program writes. The firewall is root, with one capability.
    mkdir -p "$root/etc" "$root/data" "$root/tmp"
    echo 'root:x:0:0:root:/:/usr/sbin/nologin' >"$root/etc/passwd"
    echo 'quizstack:x:65532:65532:quizstack:/:/usr/sbin/nologin' >>"$root/etc/passwd"
    printf 'root:x:0:\nquizstack:x:65532:\n' >"$root/etc/group"
    chown 65532:65532 "$root/data"
    chmod 1777 "$root/tmp"
    find "$root" -xtype l -delete -o -type d -empty ! -path "$root/data" ! -path "$root/tmp" ! -path "$root/proc" \
        ! -path "$root/sys" ! -path "$root/dev" ! -path "$root/run" -delete
done
