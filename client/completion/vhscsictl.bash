# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completion of vhscsictl

# Asks with the options that choose the host, so that a remote host's targets are offered for a remote host.
__vhscsictl_ask() {
    vhscsictl --no-pager --no-ask-password --no-legend --full "${__vhscsictl_where[@]}" "$@" 2>/dev/null </dev/null
}

__vhscsictl_targets() {
    # $1: "ours" leaves out what vhscsid does not manage, "foreign" what it does. A label with white space is no good word.
    __vhscsictl_ask list | awk -v only="$1" 'only == "" || (only == "foreign") == ($NF == "foreign") { print $1; if (NF == 6 && $2 != "-") print $2 }'
}

__vhscsictl_luns() {
    __vhscsictl_ask show "$1" | awk '$2 ~ /^\[\?:/ { print $1 }'
}

__vhscsictl_devices() {
    __vhscsictl_ask devices | awk '$4 == "usable" { print $1; if ($3 != "-") print $3 }'
}

__vhscsictl_generations() {
    __vhscsictl_ask history | awk '{ print $1 }'
}

_vhscsictl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local global='--help --version --host --machine --json --no-ask-password --no-pager --no-legend --full'
    local change='--dry-run --timeout --if-generation'
    local device='--boot --queues --qemu-version'
    local lun='--lun --readonly --name --serial --shareable --path --attribute'
    local verbs='list show ready qemu-args libvirt-xml status stat devices doctor monitor create set-label destroy adopt add-lun remove-lun export acquire release libvirt-hook plan apply import dump history diff rollback rescan'
    local verb='' words=() options="$global" i offers=''
    local -a __vhscsictl_where=()

    # bash splits words at "=" and ":"; put "--name = value" and "dm-uuid = x" together again.
    if [[ $cur == '=' ]]; then
        cur=''
    elif [[ $prev == '=' ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    elif [[ $cur == --*=* ]]; then
        prev=${cur%%=*}
        cur=${cur#*=}
    fi

    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            -H|--host|-M|--machine)
                __vhscsictl_where=("${COMP_WORDS[i]}")
                [[ ${COMP_WORDS[i+1]} == '=' ]] && i=$((i + 1))
                i=$((i + 1))
                __vhscsictl_where+=("${COMP_WORDS[i]}") ;;
            --json|--timeout|--if-generation|--label|--seed|--nexus|--lun|--name|--serial|--attribute|--target|--generation|--wait|--pid|--bus|--addr|--devno|--address|--boot|--queues|--qemu-version)
                [[ ${COMP_WORDS[i+1]} == '=' ]] && i=$((i + 1))
                i=$((i + 1)) ;;
            -*|=) ;;
            *)
                if [[ -z $verb ]]; then verb=${COMP_WORDS[i]}; else words+=("${COMP_WORDS[i]}"); fi ;;
        esac
    done

    case $prev in
        --json) offers='short pretty off' ;;
        --bus) offers='pci ccw' ;;
        --generation) offers=$(__vhscsictl_generations) ;;
        --target) offers=$(__vhscsictl_targets ours) ;;
        -H|--host) mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur"); return ;;
        -M|--machine) offers=$(machinectl --no-legend --no-pager list 2>/dev/null | awk '{ print $1 }') ;;
        --timeout|--if-generation|--label|--seed|--nexus|--lun|--name|--serial|--attribute|--wait|--pid|--addr|--devno|--address|--boot|--queues|--qemu-version) return ;;
    esac

    if [[ -z $offers ]]; then
        case $verb in
            ready) options+=" --wait" ;;
            qemu-args) options+=" $device --bus --addr --devno --migratable --shell" ;;
            libvirt-xml) options+=" $device --address" ;;
            stat) options+=" --watch" ;;
            libvirt-hook) options+=" --wait --strict --install" ;;
            acquire) options+=" $change --force --wait --pid --seed --name" ;;
            create) options+=" $change --label --seed --nexus --if-absent" ;;
            set-label) options+=" $change" ;;
            adopt) options+=" $change --all" ;;
            plan) options+=" --prune --force --if-generation --timeout" ;;
            apply) options+=" $change --prune --force --partly" ;;
            import) options+=" $change --force --partly --target" ;;
            dump) options+=" --target --portable --partly --generation" ;;
            rollback) options+=" $change --force --partly" ;;
            destroy|remove-lun|release) options+=" $change --force" ;;
            add-lun) options+=" $change $lun" ;;
            export) options+=" $change $lun --target" ;;
        esac

        if [[ $cur == -* ]]; then
            offers=$options
        elif [[ -z $verb ]]; then
            offers=$verbs
        else
            case $verb:${#words[@]} in
                show:0|ready:0|stat:0|acquire:0|release:0|qemu-args:0|libvirt-xml:0) offers=$(__vhscsictl_targets) ;;
                import:0|dump:0) offers='targetcli native' ;;
                plan:0|apply:0|import:1) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
                rollback:0|diff:0|diff:1) offers=$(__vhscsictl_generations) ;;
                adopt:0) offers=$(__vhscsictl_targets foreign) ;;
                destroy:0|set-label:0|add-lun:0|remove-lun:0) offers=$(__vhscsictl_targets ours) ;;
                remove-lun:1) offers=$(__vhscsictl_luns "${words[0]}") ;;
                add-lun:1|export:0) offers=$(__vhscsictl_devices) ;;
            esac
        fi
    fi

    # Labels and identities are other people's words: they are compared, never expanded.
    COMPREPLY=()
    local offer
    while IFS= read -r offer; do
        [[ -n $offer && $offer == "$cur"* ]] && COMPREPLY+=("$offer")
    done < <(tr ' ' '\n' <<<"$offers")

    declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$cur"
    return 0
}

complete -F _vhscsictl vhscsictl
