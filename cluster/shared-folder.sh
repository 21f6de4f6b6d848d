#!/bin/sh
# ~/shared of a cloud cluster by NFS: `shared-folder.sh head` exports it, `shared-folder.sh worker
# ADDRESS` mounts it. It is open to private addresses; the cloud's firewall admits only the cluster.
# On own machines, let ~/shared be a link to a folder in your shared file system.
set -eu

install_package() {
    dpkg -s "$1" > /dev/null 2>&1 ||
        sudo apt-get -o DPkg::Lock::Timeout=300 install --yes --quiet "$1" > /dev/null
}

shared="$HOME/shared"
mkdir -p "$shared"
case "${1:-}" in
head)
    mkdir -p "$shared/checkpoints" "$shared/data"
    install_package nfs-kernel-server
    # All writes are made as the head's user: on a worker, the same name may have another user id.
    options="(rw,async,no_subtree_check,all_squash,anonuid=$(id -u),anongid=$(id -g))"
    echo "$shared 10.0.0.0/8$options 172.16.0.0/12$options 192.168.0.0/16$options" |
        sudo tee /etc/exports.d/ibml.exports > /dev/null
    sudo exportfs -ra
    ;;
worker)
    install_package nfs-common
    mountpoint -q "$shared" || sudo mount -t nfs -o soft,timeo=600 "$2:$shared" "$shared"
    ;;
*)
    echo "usage: $0 head | worker ADDRESS" >&2
    exit 2
    ;;
esac
