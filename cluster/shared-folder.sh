#!/bin/sh
# ~/shared of a cluster in a cloud, by NFS: `shared-folder.sh head` exports it, `shared-folder.sh worker ADDRESS` mounts
# it. It is open to private addresses; the cloud's firewall lets in nobody but the cluster itself.
# On own machines use the shared file system that is there, and let ~/shared be a link to a folder in it.
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
    # Whoever writes there is the head's user, since the same name may have another number on a worker's image.
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
