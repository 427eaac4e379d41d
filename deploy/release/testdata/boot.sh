#!/bin/sh
# boot.sh FOLDER starts systemd as process 1 of a throwaway copy of this machine: its
# files under an overlay in memory, name spaces and a control group of its own, no
# network but loopback. It runs FOLDER/story.sh as a service, with FOLDER at /mnt, and
# ends. What is written there is all that stays.
set -eu
folder=$1
group=$(mount -t cgroup2 | head -n 1 | cut -d ' ' -f 3)/aigateway-test-$$
mkdir "$group"
trap 'find "$group" -depth -type d -exec rmdir {} +' EXIT
(
  sh -c 'echo $PPID' >"$group/cgroup.procs"
  exec unshare --kill-child --mount --pid --fork --uts --ipc --net --cgroup sh -eu -c '
    root=$1/root
    mount -t tmpfs none "$root"
    mkdir "$root/upper" "$root/work" "$root/all"
    mount -t overlay none -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/all"
    mount --bind "$1" "$root/all/mnt"
    cd "$root/all"
    mount -t proc none proc
    mount -t sysfs none sys
    mount -t tmpfs none sys/fs/cgroup
    mount -t cgroup2 none sys/fs/cgroup
    mount -t tmpfs none run
    mount -t tmpfs none dev
    for f in null zero full random urandom tty; do
      touch "dev/$f"
      mount --bind "/dev/$f" "dev/$f"
    done
    mkdir dev/pts dev/shm
    ln -s /proc/self/fd dev/fd
    ln -s pts/ptmx dev/ptmx
    mount -t devpts none dev/pts -o newinstance,ptmxmode=0666
    mount -t tmpfs none dev/shm
    rm -rf etc/systemd/system/*.wants # what this machine does besides
    cat >etc/systemd/system/story.service <<end
[Service]
Type=oneshot
Environment=PATH=/mnt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/bin/bash -eux /mnt/story.sh
StandardOutput=append:/mnt/said
StandardError=append:/mnt/said
ExecStopPost=/bin/sh -c "echo \$EXIT_STATUS >/mnt/status; journalctl --no-pager --unit=aigateway >>/mnt/said; systemctl --no-block poweroff"
end
    cat >etc/systemd/system/story.target <<end
[Unit]
Requires=basic.target systemd-journald.socket story.service
After=basic.target
end
    mkdir before
    pivot_root . before
    umount --lazy before
    mount --make-rshared / # systemd mounts credentials elsewhere first
    exec env -i container=other /lib/systemd/systemd --unit=story.target
  ' sh "$folder" </dev/null
)
