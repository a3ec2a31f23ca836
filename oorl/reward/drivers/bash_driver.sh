# Calls one Bash function for the judge: bash bash_driver.sh SOURCE ENTRY PARAMETER_TYPE... RESULT_TYPE.
# The protocol is described in oorl/reward/wire.py. Scalars are passed as words, bools as true and false, a list by the name of a global
# array. What the function prints is its result: one line break at its end is dropped, a list is one element a line and nothing printed
# is the empty list. Its exit status is not looked at, since it is often that of a last test; 126 and above (no such command, killed)
# is an error, and so is `exit` inside the function.
LC_ALL=C  # in the driver's own code: patterns over UTF-8 text cost a minute where bytes cost a tenth of a second
exec {_oorl_in}<&0 {_oorl_out}>&1 </dev/null >&2

_oorl_quote() {  # text -> JSON string in REPLY
    local s=$1 code
    s=${s//\\/\\\\}
    s=${s//\"/\\\"}
    if [[ $s == *[[:cntrl:]]* ]]; then
        for code in {1..31}; do
            printf -v REPLY '\\x%02x' "$code"
            printf -v REPLY '%b' "$REPLY"
            [[ $s == *"$REPLY"* ]] || continue
            s=${s//"$REPLY"/$(printf '\\u%04x' "$code")}
        done
    fi
    REPLY=\"$s\"
}

_oorl_text() {  # the JSON string at the start of rest -> REPLY; rest goes on after it
    local quoted
    rest=${rest:1}
    quoted=${rest%%\"*}
    rest=${rest:${#quoted}+1}
    printf -v REPLY '%b' "$quoted"
}

_oorl_words() {  # JSON args -> _oorl_args, arrays _oorl_list_0, _oorl_list_1, ...
    local rest=$1 kind index=0 item
    rest=${rest//\\\\/\\u005c}  # afterwards the first bare quote ends a string
    rest=${rest//\\\"/\\u0022}
    _oorl_args=()
    for kind in "${_oorl_params[@]}"; do
        case $kind in
            str)
                _oorl_text
                _oorl_args+=("$REPLY")
                ;;
            list\[str\])
                local -n _oorl_target=_oorl_list_$index
                _oorl_target=()
                rest=${rest:1}
                while [[ $rest == \"* ]]; do
                    _oorl_text
                    _oorl_target+=("$REPLY")
                    rest=${rest#,}
                done
                unset -n _oorl_target
                rest=${rest:1}
                _oorl_args+=("_oorl_list_$index")
                ;;
            list\[int\])
                item=${rest%%\]*}
                rest=${rest:${#item}+1}
                IFS=, read -r -a "_oorl_list_$index" <<<"${item:1}"
                _oorl_args+=("_oorl_list_$index")
                ;;
            *)
                item=${rest%%[],]*}
                rest=${rest:${#item}}
                _oorl_args+=("$item")
                ;;
        esac
        rest=${rest:1}
        index=$((index + 1))
    done
}

_oorl_scalar() {  # text, type -> JSON in REPLY; false when it is not of the type
    local text=$1
    case $2 in
        str) _oorl_quote "$text"; return 0 ;;
        int) local pattern='^[[:space:]]*(-?(0|[1-9][0-9]*))[[:space:]]*$' ;;
        bool) local pattern='^[[:space:]]*(true|false)[[:space:]]*$' ;;
    esac
    [[ $text =~ $pattern ]] && REPLY=${BASH_REMATCH[1]}
}

_oorl_encode() {  # printed text, type -> reply field and JSON in REPLY
    local text=${1%$'\n'} kind=$2 items=() line
    if [[ $kind != list* ]]; then
        if _oorl_scalar "$text" "$kind"; then REPLY="\"value\":$REPLY"; else _oorl_mistyped "$text" "$kind"; fi
        return
    fi
    [[ -n $1 && ! ($kind == list\[int\] && -z $text) ]] && mapfile -t _oorl_lines <<<"$text" || _oorl_lines=()
    for line in "${_oorl_lines[@]}"; do
        if ! _oorl_scalar "$line" "${kind:5:-1}"; then _oorl_mistyped "$line" "${kind:5:-1}"; return; fi
        items+=("$REPLY")
    done
    local IFS=,
    REPLY="\"value\":[${items[*]}]"
}

_oorl_mistyped() {
    _oorl_quote "printed '${1:0:80}' where $2 was declared"
    REPLY="\"mistyped\":$REPLY"
}

_oorl_call() {  # one call; reply field and JSON in REPLY
    local printed status
    printed=$(LC_ALL=C.UTF-8; set $_oorl_options; "$_oorl_entry" "${_oorl_args[@]}" {_oorl_in}<&- {_oorl_out}>&-; printf '\nstatus %d' "$?")
    status=${printed##*$'\nstatus '}
    if [[ $printed != *$'\nstatus '* ]]; then
        REPLY='"error":"the function ended its shell"'
    elif ((status >= 126)); then
        REPLY="\"error\":\"the function failed with status $status\""
    else
        _oorl_encode "${printed%$'\nstatus '*}" "$_oorl_returns"
    fi
}

_oorl_keep_options() {  # `set -e` and its like hold inside the function and not in this driver
    local flag
    _oorl_options=--
    for flag in e u f; do [[ $- != *$flag* ]] || _oorl_options="-$flag $_oorl_options"; done
    [[ :$SHELLOPTS: != *:pipefail:* ]] || _oorl_options="-o pipefail $_oorl_options"
    set +euf +o pipefail
    IFS=$' \t\n'
}

_oorl_load() {
    local complaint
    if ! complaint=$("$BASH" -n "$1" 2>&1); then
        complaint=${complaint//"$1"/main.sh}
        _oorl_quote "${complaint:0:1500}"
        _oorl_fault="\"compile_error\":$REPLY"
    fi
}

_oorl_source=$1 _oorl_entry=$2
_oorl_params=("${@:3:$#-3}")
_oorl_returns=${!#}
set --
while IFS= read -r -u "$_oorl_in" _oorl_line; do
    _oorl_id=${_oorl_line#\{\"id\":\"}
    _oorl_id=${_oorl_id%%\"*}
    if [[ -z ${_oorl_loaded-} ]]; then
        _oorl_loaded=yes
        _oorl_load "$_oorl_source"
        if [[ -z ${_oorl_fault-} ]]; then
            LC_ALL=C.UTF-8
            source "$_oorl_source"
            LC_ALL=C
            _oorl_keep_options
            declare -F "$_oorl_entry" >/dev/null || _oorl_fault="\"compile_error\":\"defines no function $_oorl_entry\""
        fi
    fi
    if [[ -n ${_oorl_fault-} ]]; then
        REPLY=$_oorl_fault
    else
        _oorl_words "${_oorl_line:${#_oorl_id}+17}"  # {"id":"...","args":[
        _oorl_call
    fi
    printf '{"id":"%s",%s}\n' "$_oorl_id" "$REPLY" >&"$_oorl_out"
done
