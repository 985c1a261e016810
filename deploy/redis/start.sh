#!/bin/sh
# Starts Redis with Holdfast's users (acl/), the default one off, and one that may only ping. What is
# written reaches the disk every second, and what does not fit is refused rather than evicted: a hold that is
# evicted is sold twice as far as Redis goes. Run by the service redis (docker-compose.yml).
set -eu

acl_file=${ACL_FILE:-/tmp/users.acl}

# The line of a program's user, with the hash of its password.
user() {
    hash=$(printf %s "$2" | sha256sum | cut -d' ' -f1)
    sed "s/PASSWORD_SHA256/$hash/" "${ACL_FOLDER:-/acl}/$1.acl"
}

umask 077
{
    user api "$REDIS_API_PASSWORD"
    user worker "$REDIS_WORKER_PASSWORD"
    user ctl "$REDIS_CTL_PASSWORD"
    echo 'user default off'
    echo 'user health on nopass -@all +ping'
} >"$acl_file"

exec redis-server --aclfile "$acl_file" --appendonly yes --appendfsync everysec \
    --maxmemory "$REDIS_MAXMEMORY" --maxmemory-policy noeviction "$@"
