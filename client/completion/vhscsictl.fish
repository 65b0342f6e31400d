# SPDX-License-Identifier: LGPL-2.1-or-later
# fish completion of vhscsictl

function __vhscsictl_ask
    vhscsictl --no-pager --no-ask-password --no-legend --full $argv 2>/dev/null </dev/null
end

function __vhscsictl_targets
    __vhscsictl_ask list | awk '{ print $1 "\t" $3; if (NF == 6 && $2 != "-") print $2 "\t" $1 }'
end

function __vhscsictl_our_targets
    __vhscsictl_ask list | awk '$NF != "foreign" { print $1 "\t" $3; if (NF == 6 && $2 != "-") print $2 "\t" $1 }'
end

function __vhscsictl_devices
    __vhscsictl_ask devices | awk '$4 == "usable" { print $1 "\t" $2; if ($3 != "-") print $3 "\t" $1 }'
end

function __vhscsictl_foreign_targets
    __vhscsictl_ask list | awk '$NF == "foreign" { print $1 "\t" $3 }'
end

# The words after the verb that are no options.
function __vhscsictl_arguments
    set -l words (commandline -opc)
    # A range that is empty runs backwards in fish: [2..-1] of one word is that word.
    set -e words[1]
    set -l seen
    set -l skip 0
    for word in $words
        if test $skip -eq 1
            set skip 0
            continue
        end
        switch $word
            case -H --host -M --machine --json --timeout --if-generation --label --seed --nexus --lun --name --serial --attribute --target --generation --wait --pid \
                    --bus --addr --devno --address --boot --queues --qemu-version
                set skip 1
            case '-*'
            case '*'
                set -a seen $word
        end
    end
    string join \n -- $seen
end

# Is the verb one of these ($argv[2..]) and $argv[1] the number of arguments that it has so far?
function __vhscsictl_at
    set -l seen (__vhscsictl_arguments)
    test (count $seen) -eq (math $argv[1] + 1); and contains -- $seen[1] $argv[2..-1]
end

function __vhscsictl_verb
    set -l seen (__vhscsictl_arguments)
    test (count $seen) -gt 0; and contains -- $seen[1] $argv
end

function __vhscsictl_no_verb
    test (count (__vhscsictl_arguments)) -eq 0
end

function __vhscsictl_luns
    set -l seen (__vhscsictl_arguments)
    __vhscsictl_ask show $seen[2] | awk '$2 ~ /^\[\?:/ { print $1 }'
end

function __vhscsictl_generations
    __vhscsictl_ask history | awk '{ n = $1; $1 = ""; print n "\t" substr($0, 2) }'
end

complete -c vhscsictl -f

complete -c vhscsictl -n __vhscsictl_no_verb -a list -d 'The targets'
complete -c vhscsictl -n __vhscsictl_no_verb -a show -d 'One target and its LUNs'
complete -c vhscsictl -n __vhscsictl_no_verb -a ready -d 'Can a guest be started on it?'
complete -c vhscsictl -n __vhscsictl_no_verb -a qemu-args -d 'What gives it to a guest of QEMU'
complete -c vhscsictl -n __vhscsictl_no_verb -a libvirt-xml -d 'What gives it to a domain of libvirt'
complete -c vhscsictl -n __vhscsictl_no_verb -a status -d 'Is all well?'
complete -c vhscsictl -n __vhscsictl_no_verb -a stat -d 'What the kernel has counted'
complete -c vhscsictl -n __vhscsictl_no_verb -a devices -d 'Block devices that can be exported'
complete -c vhscsictl -n __vhscsictl_no_verb -a doctor -d 'What will hurt some day'
complete -c vhscsictl -n __vhscsictl_no_verb -a monitor -d 'Follow what changes'
complete -c vhscsictl -n __vhscsictl_no_verb -a create -d 'Make a target'
complete -c vhscsictl -n __vhscsictl_no_verb -a set-label -d 'Give a target a name'
complete -c vhscsictl -n __vhscsictl_no_verb -a destroy -d 'Remove a target and its LUNs'
complete -c vhscsictl -n __vhscsictl_no_verb -a adopt -d 'Take over what somebody else made'
complete -c vhscsictl -n __vhscsictl_no_verb -a add-lun -d 'Give a disk to a target'
complete -c vhscsictl -n __vhscsictl_no_verb -a remove-lun -d 'Take a disk away'
complete -c vhscsictl -n __vhscsictl_no_verb -a export -d 'create and add-lun in one'
complete -c vhscsictl -n __vhscsictl_no_verb -a acquire -d 'Reserve a target for a guest'
complete -c vhscsictl -n __vhscsictl_no_verb -a release -d 'Give it back'
complete -c vhscsictl -n __vhscsictl_no_verb -a libvirt-hook -d 'Called by libvirt'
complete -c vhscsictl -n __vhscsictl_no_verb -a plan -d 'What apply would do'
complete -c vhscsictl -n __vhscsictl_no_verb -a apply -d 'Make everything as a document says'
complete -c vhscsictl -n __vhscsictl_no_verb -a import -d 'Take over a configuration'
complete -c vhscsictl -n __vhscsictl_no_verb -a dump -d 'Print what is wanted'
complete -c vhscsictl -n __vhscsictl_no_verb -a history -d 'The last changes'
complete -c vhscsictl -n __vhscsictl_no_verb -a diff -d 'What is different since a generation'
complete -c vhscsictl -n __vhscsictl_no_verb -a rollback -d 'Make everything as it was'
complete -c vhscsictl -n __vhscsictl_no_verb -a rescan -d 'Look at devices and kernel again'

complete -c vhscsictl -n '__vhscsictl_at 0 show ready stat acquire release qemu-args libvirt-xml' -a '(__vhscsictl_targets)'
complete -c vhscsictl -n '__vhscsictl_at 0 adopt' -a '(__vhscsictl_foreign_targets)'
complete -c vhscsictl -n '__vhscsictl_at 0 destroy set-label add-lun remove-lun' -a '(__vhscsictl_our_targets)'
complete -c vhscsictl -n '__vhscsictl_at 1 remove-lun' -a '(__vhscsictl_luns)'
complete -c vhscsictl -n '__vhscsictl_at 1 add-lun' -a '(__vhscsictl_devices)'
complete -c vhscsictl -n '__vhscsictl_at 0 export' -a '(__vhscsictl_devices)'

complete -c vhscsictl -s h -l help -d 'Show help'
complete -c vhscsictl -l version -d 'Show the version'
complete -c vhscsictl -s H -l host -x -a '(__fish_print_hostnames)' -d 'Talk to a remote host'
complete -c vhscsictl -s M -l machine -x -d 'Talk to a container'
complete -c vhscsictl -l json -f -a 'short pretty off' -d 'Print JSON'
complete -c vhscsictl -l no-ask-password -d 'Do not ask for a password'
complete -c vhscsictl -l no-pager -d 'Use no pager'
complete -c vhscsictl -l no-legend -d 'Print no titles'
complete -c vhscsictl -s l -l full -d 'Do not shorten columns'

set -l change '__vhscsictl_verb create set-label destroy adopt add-lun remove-lun export acquire release apply import rollback'
complete -c vhscsictl -n $change -l dry-run -d 'Check, change nothing'
complete -c vhscsictl -n $change -l timeout -x -d 'Give up waiting'
complete -c vhscsictl -n $change -l if-generation -x -d 'Only if nothing has changed since'
complete -c vhscsictl -n '__vhscsictl_verb destroy remove-lun acquire release' -l force -d 'Under a running guest'
complete -c vhscsictl -n '__vhscsictl_verb create' -l label -x -d 'Name for people'
complete -c vhscsictl -n '__vhscsictl_verb create acquire' -l seed -x -d 'Derive the WWN from this'
complete -c vhscsictl -n '__vhscsictl_verb create' -l nexus -x -d 'The nexus'
complete -c vhscsictl -n '__vhscsictl_verb create' -l if-absent -d 'An existing target is fine'
complete -c vhscsictl -n '__vhscsictl_at 0 import dump' -a 'targetcli native'
complete -c vhscsictl -n '__vhscsictl_at 0 plan apply' -F
complete -c vhscsictl -n '__vhscsictl_at 1 import' -F
complete -c vhscsictl -n '__vhscsictl_verb plan apply' -l prune -d 'Remove what is not in it'
complete -c vhscsictl -n '__vhscsictl_verb apply import rollback' -l partly -d 'What is refused does not keep the rest'
complete -c vhscsictl -n '__vhscsictl_verb plan apply import rollback' -l force -d 'Under running guests'
complete -c vhscsictl -n '__vhscsictl_at 0 diff rollback' -k -a '(__vhscsictl_generations)'
complete -c vhscsictl -n '__vhscsictl_at 1 diff' -k -a '(__vhscsictl_generations)'
complete -c vhscsictl -n '__vhscsictl_verb dump' -l generation -x -k -a '(__vhscsictl_generations)' -d 'As it was then'
complete -c vhscsictl -n '__vhscsictl_verb dump' -l partly -d 'Leave out what cannot be said'
complete -c vhscsictl -n '__vhscsictl_verb import' -l target -x -d 'This one only'
complete -c vhscsictl -n '__vhscsictl_verb dump' -l portable -d 'For another host'
complete -c vhscsictl -n '__vhscsictl_verb dump' -l target -x -a '(__vhscsictl_our_targets)' -d 'This one only'
complete -c vhscsictl -n '__vhscsictl_verb ready acquire libvirt-hook' -l wait -x -d 'For what is missing'
complete -c vhscsictl -n '__vhscsictl_verb libvirt-hook' -l strict -d 'Nothing without the daemon'
complete -c vhscsictl -n '__vhscsictl_verb libvirt-hook' -l install -d 'Have libvirt call it'
complete -c vhscsictl -n '__vhscsictl_verb acquire' -l pid -x -a '(__fish_complete_pids)' -d 'Released at its end'
set -l device '__vhscsictl_verb qemu-args libvirt-xml'
complete -c vhscsictl -n $device -l boot -x -d 'Boot from LUN 0'
complete -c vhscsictl -n $device -l queues -x -d 'Request queues'
complete -c vhscsictl -n $device -l qemu-version -x -d 'What this QEMU can do'
complete -c vhscsictl -n '__vhscsictl_verb qemu-args' -l bus -x -a 'pci ccw' -d 'The bus of the guest'
complete -c vhscsictl -n '__vhscsictl_verb qemu-args' -l addr -x -d 'Place on pci'
complete -c vhscsictl -n '__vhscsictl_verb qemu-args' -l devno -x -d 'Place on ccw'
complete -c vhscsictl -n '__vhscsictl_verb qemu-args' -l migratable -d 'Let it be migrated live'
complete -c vhscsictl -n '__vhscsictl_verb qemu-args' -l shell -d 'Quoted for a shell'
complete -c vhscsictl -n '__vhscsictl_verb libvirt-xml' -l address -x -d 'Place in the guest'
complete -c vhscsictl -n '__vhscsictl_verb stat' -l watch -d 'Each second'
complete -c vhscsictl -n '__vhscsictl_verb adopt' -l all -d 'Every foreign target'
complete -c vhscsictl -n '__vhscsictl_verb export' -l target -x -a '(__vhscsictl_our_targets)' -d 'To this target'
set -l lun '__vhscsictl_verb add-lun export'
complete -c vhscsictl -n $lun -l lun -x -d 'LUN number'
complete -c vhscsictl -n $lun -l readonly -d 'The guest may not write'
complete -c vhscsictl -n "$lun acquire" -l name -x -d 'Name of the backstore, or of the guest'
complete -c vhscsictl -n $lun -l serial -x -d 'Unit serial'
complete -c vhscsictl -n $lun -l shareable -d 'May be exported more than once'
complete -c vhscsictl -n $lun -l path -d 'One path of a disk'
complete -c vhscsictl -n $lun -l attribute -x -d 'LIO attribute NAME=VALUE'
