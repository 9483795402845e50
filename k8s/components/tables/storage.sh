# Before each start: storage that is whole or not there, and the roles that are declared, by a server of one user that listens nowhere.
data=/data/db

# $1: the database; standard input: statements, each with a semicolon and an empty line behind it. The first mistake ends it.
single() { postgres --single -D "$folder" -c exit_on_error=on -j "$1"; }

if [ ! -d "$data" ]; then
    folder=/data/new  # of one that was ended in the midst of it
    rm -rf "$folder"
    initdb --pgdata="$folder" --username=admin --pwfile=/passwords/admin --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 \
        --data-checksums --no-instructions
    printf 'CREATE DATABASE aguacero;\n\n' | single postgres
    mv "$folder" "$data"
    sync -f "$data"
fi
folder=$data
chmod 0700 "$folder"  # whoever mounts the volume may have given it to the group
single aguacero < /run/roles/roles.sql
