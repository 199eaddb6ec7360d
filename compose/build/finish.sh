#!/bin/sh
# Puts a program into its root file system, with its bill of materials: finish.sh PROGRAM ROOT NAME EPOCH.
# All files get the same time, so that the same sources make the same layers.
set -eu
program=$1 root=$2 name=$3 epoch=$4

install -D "$program" "$root/usr/bin/$(basename "$program")"
bill=$root/usr/share/sbom/$name.cdx.json
mkdir -p "$(dirname "$bill")"
crates=$(mktemp) packages=$(mktemp)
auditable2cdx "$program" >"$crates"
for status in "$root"/var/lib/dpkg/status.d/*; do
    case $status in *.list) continue ;; esac
    sed -n 's/^\(Package\|Version\|Architecture\): \(.*\)/\1 \2/p' "$status"
done | awk '
    $1 == "Package" { name = $2 } $1 == "Version" { version = $2 } $1 == "Architecture" { arch = $2 }
    name != "" && version != "" && arch != "" { print name, version, arch; name = version = arch = "" }' |
    jq --raw-input --slurp 'split("\n") | map(select(. != "") | split(" ") | {
        type: "library", name: .[0], version: .[1],
        purl: "pkg:deb/debian/\(.[0])@\(.[1] | @uri)?arch=\(.[2])"
    })' >"$packages"
jq --slurpfile packages "$packages" '.components += $packages[0]' "$crates" >"$bill"
find "$root" -exec touch --no-dereference --date="@$epoch" {} +
