#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Finds out by compiling what the kernel has; version numbers lie, for distributions backport.
#
#   conftest.sh HEADER COMPILER...
#
# Writes HEADER, a line a feature. COMPILER is the command that Kbuild compiles a C file with, but for input and output.
set -eu

header=$1
shift
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

compiles() {
	cat > "$dir/probe.c"
	"$@" -Werror -Wno-unused -c -o "$dir/probe.o" "$dir/probe.c" > "$dir/log" 2>&1
}

probe() {
	name=$1
	shift
	if compiles "$@"; then
		echo "#define $name 1"
	else
		echo "/* no $name */"
	fi
}

# One that must work and one that must not: or else every answer below is wrong.
if ! echo '#include <target/target_core_fabric.h>' | compiles "$@"; then
	echo "conftest.sh: nothing compiles:" >&2
	cat "$dir/log" >&2
	exit 1
fi
if echo '#include <linux/no_such_header.h>' | compiles "$@"; then
	echo "conftest.sh: everything compiles" >&2
	exit 1
fi

{
	echo '/* Made by conftest.sh. */'
	probe HAVE_EVENTFD_SIGNAL_COUNT "$@" <<-'END'
	#include <linux/eventfd.h>
	void f(struct eventfd_ctx *c);
	void f(struct eventfd_ctx *c) { eventfd_signal(c, 1); }
	END
	probe HAVE_FABRIC_POST_UNLINK "$@" <<-'END'
	#include <target/target_core_fabric.h>
	struct target_core_fabric_ops ops = { .fabric_post_unlink = NULL };
	END
	probe HAVE_DIRECT_SUBMIT "$@" <<-'END'
	#include <target/target_core_fabric.h>
	struct target_core_fabric_ops ops = { .default_submit_type = TARGET_DIRECT_SUBMIT, .direct_submit_supp = 1 };
	END
	probe HAVE_DIRECT_COMPL "$@" <<-'END'
	#include <target/target_core_fabric.h>
	struct target_core_fabric_ops ops = { .default_compl_type = TARGET_DIRECT_COMPL, .direct_compl_supp = 1 };
	END
	probe HAVE_NO_LLSEEK "$@" <<-'END'
	#include <linux/fs.h>
	void *p = no_llseek;
	END
} > "$header.tmp"
mv "$header.tmp" "$header"
