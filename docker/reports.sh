#!/bin/sh
# Runs a command as root of a container, and gives its reports to the owner of the directory they went to.
"$@"
status=$?
chown -R --reference=build build
exit $status
