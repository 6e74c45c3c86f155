#!/usr/bin/env bash
#
# The shared context of a server, for shells; needs nothing but bash and curl.
#
#   context.sh set KEY VALUE [--who WHO]           VALUE is JSON if it is JSON, else a text
#   context.sh get KEY [--format plain|json]
#   context.sh list [GLOB] [--format json|plain]
#   context.sh history [GLOB]
#   context.sh delete KEY [--who WHO]
#   context.sh dump [--dump-format json|pretty|csv|txt] [--filename NAME] [--include-history] [--who WHO]
#   context.sh dumps
#   context.sh download NAME
#
# Options stand before or after the words: --url URL, or --host HOST and --port PORT (http://127.0.0.1:8080), --token
# TOKEN, --namespace NAME. In the environment: ISOLATION_URL, ISOLATION_TOKEN, ISOLATION_NAMESPACE. A token goes to
# another machine by https alone; --allow-plain says that nobody can listen.
#
# Exit codes: 1 there is no such key or dump, 2 it was called wrongly, 3 the server cannot be reached or refuses.

set -euo pipefail

fail() { # CODE SENTENCE [HINT]
    printf 'context.sh: %s\n' "$2" >&2
    [ -z "${3:-}" ] || printf '%s\n' "$3" >&2
    exit "$1"
}

usage() { sed -n '3,19s/^# \{0,1\}//p' -- "${BASH_SOURCE[0]}"; }

host=127.0.0.1 port=8080 url="${ISOLATION_URL:-}" token="${ISOLATION_TOKEN:-}" namespace="${ISOLATION_NAMESPACE:-}"
who="" format="" dump_format=json filename="" include_history=false allow_plain=false # the options of these names
words=()
while [ $# -gt 0 ]; do
    case "$1" in
        --who | --format | --dump-format | --filename | --host | --port | --url | --token | --namespace)
            [ $# -gt 1 ] || fail 2 "$1 needs a value" "context.sh --help tells more."
            name="${1#--}"
            printf -v "${name//-/_}" '%s' "$2"
            shift 2
            ;;
        --include-history) include_history=true && shift ;;
        --allow-plain) allow_plain=true && shift ;;
        --help | -h) usage && exit 0 ;;
        --) shift && words+=("$@") && break ;;
        --*) fail 2 "there is no option $1" "context.sh --help tells more." ;;
        *) words+=("$1") && shift ;;
    esac
done
url="${url:-http://$host:$port}"
url="${url%/}"

# What is no plain address of a server could lead elsewhere than it seems to: `http://127.0.0.1@example.org`.
address='^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?$'
here='^(127\.[0-9]+\.[0-9]+\.[0-9]+|localhost|\[::1\])$'
[[ "$url" =~ $address ]] || fail 2 "'$url' is no address of a server" "Write it as https://HOST or http://127.0.0.1:8080."
there="${BASH_REMATCH[1]}"
if [[ "$url" = http:* && -n "$token" && $allow_plain = false ]] && ! [[ "$there" =~ $here ]]; then
    fail 2 "the token would be readable on the way to $there, which is not this machine" \
        "Name the server by https, or say --allow-plain where nobody can listen."
fi

# A text between double quotes, as both curl's configuration and JSON have it; the server refuses what cannot be a name.
quoted() {
    local text="${1//\\/\\\\}"
    text="${text//\"/\\\"}"
    case "$text" in *[[:cntrl:]]*) fail 2 "a key or a name cannot hold control characters" ;; esac
    printf '"%s"' "$text"
}

# A text as a query has it (RFC 3986), byte by byte.
encoded() {
    local LC_ALL=C text="$1" sign number
    for ((number = 0; number < ${#text}; number++)); do
        sign="${text:number:1}"
        case "$sign" in
            [A-Za-z0-9._~-]) printf '%s' "$sign" ;;
            *) printf '%%%02X' "'$sign" ;;
        esac
    done
}

# A field of a problem, in one line of JSON, as text.
field() {
    local name="\"$1\":\""
    local rest="${2#*"$name"}"
    [ "$rest" != "$2" ] || return 0
    rest="${rest//\\\"/$'\001'}"
    rest="${rest%%\"*}"
    printf '%s' "${rest//$'\001'/\"}"
}

# ask METHOD PATH TYPE BODY [NAME=VALUE]...: prints the answer. TYPE is empty where there is no body. Token and body go
# through file descriptors: whoever lists processes does not see them.
ask() {
    local method="$1" path="$2" type="$3" body="$4" query="" pair answer status
    shift 4
    for pair in "$@" ${namespace:+"namespace=$namespace"}; do
        query+="${query:+&}${pair%%=*}=$(encoded "${pair#*=}")"
    done
    local options=(--silent --show-error --max-time 60 --request "$method" --write-out '\n%{http_code}')
    # Of the proxies that the environment names only those for TLS: another would read the token.
    [[ "$url" = https:* ]] || options+=(--noproxy '*')
    [ -z "$type" ] || options+=(--header "Content-Type: $type" --data-binary @/dev/fd/4)
    answer="$(curl "${options[@]}" --config /dev/fd/3 --url "$url$path${query:+?$query}" 2>&1 \
        3< <([ -z "$token" ] || printf 'header = %s\n' "$(quoted "Authorization: Bearer $token")") \
        4< <(printf '%s' "$body") && printf .)" ||
        fail 3 "the server at $url cannot be reached: ${answer%%$'\n'*}" "Is it there? \`isolation serve\` starts one."
    answer="${answer%.}"
    status="${answer##*$'\n'}" answer="${answer%$'\n'*}"
    case "$status" in
        2*) printf '%s' "$answer" ;;
        404) fail 1 "$(field detail "$answer")" "$(field hint "$answer")" ;;
        422) fail 2 "$(field detail "$answer")" "$(field hint "$answer")" ;;
        *) fail 3 "$(field detail "$answer")" "$(field hint "$answer")" ;;
    esac
}

takes() { # FEWEST MOST: words after the first
    local count=$((${#words[@]} - 1))
    if [ "$count" -lt "$1" ] || [ "$count" -gt "$2" ]; then
        fail 2 "${words[0]} does not take $count words" "context.sh --help tells more."
    fi
}

text=/v1/context/text
case "${words[0]:-}" in
    set)
        takes 2 2
        ask PUT $text text/plain "${words[2]}" "key=${words[1]}" ${who:+"who=$who"} >/dev/null
        ;;
    get)
        takes 1 1
        ask GET $text "" "" "key=${words[1]}" "format=${format:-plain}"
        ;;
    list)
        takes 0 1
        ask GET $text/all "" "" "glob=${words[1]:-*}" "format=${format:-plain}"
        ;;
    history)
        takes 0 1
        ask GET $text/history "" "" "glob=${words[1]:-*}"
        ;;
    delete)
        takes 1 1
        ask DELETE /v1/context/entry "" "" "key=${words[1]}" ${who:+"who=$who"} >/dev/null
        ;;
    dump)
        takes 0 0
        body="{\"format\": $(quoted "$dump_format"), \"include_history\": $include_history"
        [ -z "$filename" ] || body+=", \"filename\": $(quoted "$filename")"
        [ -z "$who" ] || body+=", \"who\": $(quoted "$who")"
        written="$(ask POST /v1/context/dumps application/json "$body}")"
        printf '%s\n' "$(field filename "$written")"
        ;;
    dumps)
        takes 0 0
        ask GET /v1/context/dumps "" ""
        printf '\n'
        ;;
    download)
        takes 1 1
        ask GET "/v1/context/dumps/$(encoded "${words[1]}")" "" ""
        ;;
    "") usage >&2 && exit 2 ;;
    *) fail 2 "there is no command ${words[0]}" "context.sh --help tells more." ;;
esac
