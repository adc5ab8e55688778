// Writes the completion scripts of shells from the tree of commands.
#include "cli/completion.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "cli/commands.h"
#include "dr/v1/api.pb.h"

namespace dr::cli {
namespace {

// One command of the tree, and what may follow it.
struct Node {
    std::string path;                // "drcli subscriber get"
    std::vector<std::string> words;  // commands below it, or the values of its argument
    std::vector<std::string> flags;
    std::string objects;  // kind of object its argument names: "subscriber"; of tunnels: "ids"
};

std::string joined(const std::vector<std::string>& words, const char* separator = " ") {
    std::string text;
    for (const auto& word : words) {
        if (!text.empty()) {
            text += separator;
        }
        text += word;
    }
    return text;
}

void collect(const CLI::App& app, const std::string& parent_path, std::vector<Node>& nodes) {
    Node node;
    node.path = parent_path.empty() ? app.get_name() : parent_path + " " + app.get_name();
    const auto children = app.get_subcommands([](const CLI::App*) { return true; });
    for (const auto* child : children) {
        node.words.push_back(child->get_name());
    }
    for (const auto* option : app.get_options()) {
        for (const auto& name : option->get_snames()) {
            node.flags.push_back("-" + name);
        }
        for (const auto& name : option->get_lnames()) {
            node.flags.push_back("--" + name);
        }
        // Only objects that have names are listed by name: the argument of `subscriber get`.
        if (option->get_positional() && option->get_single_name() == "NAME") {
            node.objects = app.get_parent()->get_name();
        } else if (option->get_positional() && option->get_single_name() == "ID") {
            node.objects = "ids";
        }
    }
    if (node.path == "drcli system drain") {
        node.words = {"on", "off"};
    } else if (node.path == "drcli completion") {
        node.words = {"bash", "zsh"};
    }
    nodes.push_back(node);
    for (const auto* child : children) {
        collect(*child, node.path, nodes);
    }
}

std::vector<Node> nodes_of(const CLI::App& root) {
    std::vector<Node> nodes;
    collect(root, "", nodes);
    return nodes;
}

// Options of the whole tree that take a value of this type ("FILE"): "--tls-ca|--tls-key".
std::string flags_of_type(const CLI::App& app, const std::string& type) {
    std::vector<std::string> found;
    const auto visit = [&](const CLI::App& at, const auto& self) -> void {
        for (const auto* option : at.get_options()) {
            if (option->get_type_name() != type) {
                continue;
            }
            for (const auto& name : option->get_snames()) {
                found.push_back("-" + name);
            }
            for (const auto& name : option->get_lnames()) {
                found.push_back("--" + name);
            }
        }
        for (const auto* child : at.get_subcommands([](const CLI::App*) { return true; })) {
            self(*child, self);
        }
    };
    visit(app, visit);
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return joined(found, "|");
}

std::string path_patterns(const std::vector<Node>& nodes) {
    std::vector<std::string> patterns;
    for (const auto& node : nodes) {
        if (node.path.find(' ') != std::string::npos) {
            patterns.push_back('"' + node.path + '"');
        }
    }
    return joined(patterns, "|\\\n            ");
}

// case "$path" arms that set words, flags and objects.
std::string arms(const std::vector<Node>& nodes) {
    std::string text;
    for (const auto& node : nodes) {
        text += fmt::format("        \"{}\") words=\"{}\"; flags=\"{}\"; objects=\"{}\" ;;\n",
                            node.path, joined(node.words), joined(node.flags), node.objects);
    }
    return text;
}

// @paths@, @arms@, @files@ and @values@ stand for the parts that come from the tree, @states@ and
// @encapsulations@ for names of the API.
constexpr const char* kBash = R"script(# bash completion for drcli: source <(drcli completion bash)
_drcli_ask() {
    local i server=() words
    read -ra words <<<"$COMP_LINE"
    for ((i = 1; i + 1 < ${#words[@]}; i++)); do
        [[ ${words[i]} == --server ]] && server=(--server "${words[i + 1]}")
    done
    "${words[0]}" "${server[@]}" "$@" 2>&1
}
_drcli_column() {
    local column=$1
    shift
    _drcli_ask "$@" | awk -v n="$column" 'NR > 1 && !/^drcli: / { print $n }' | sort -u
}
_drcli_names() { _drcli_column 1 "$1" list --prefix "$2" --limit 100; }
_drcli_kinds() { _drcli_ask event list --kind '?' | sed -n 's/.*there are: //p' | tr -d ,; }
_drcli() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local path=drcli i words="" flags="" objects=""
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$path ${COMP_WORDS[i]}" in
            @paths@)
                path="$path ${COMP_WORDS[i]}" ;;
        esac
    done
    case "$path" in
@arms@    esac
    case "$prev" in
        -o|--output) COMPREPLY=($(compgen -W "table json" -- "$cur")); return ;;
        @files@) COMPREPLY=($(compgen -f -- "$cur")); compopt -o filenames; return ;;
        --subscriber) COMPREPLY=($(compgen -W "$(_drcli_names subscriber "$cur")" -- "$cur")); return ;;
        --policy) COMPREPLY=($(compgen -W "$(_drcli_names policy "$cur")" -- "$cur")); return ;;
        --state) COMPREPLY=($(compgen -W "@states@" -- "$cur")); return ;;
        --encapsulation) COMPREPLY=($(compgen -W "@encapsulations@" -- "$cur")); return ;;
        --kind) COMPREPLY=($(compgen -W "$(_drcli_kinds)" -- "$cur")); return ;;
        --line) COMPREPLY=($(compgen -W "$(_drcli_column 3 tunnel list)" -- "$cur")); return ;;
        --id|--tunnel) COMPREPLY=($(compgen -W "$(_drcli_column 1 tunnel list)" -- "$cur")); return ;;
        --last) COMPREPLY=($(compgen -W "$(_drcli_column 1 stats drops)" -- "$cur")); return ;;
        @values@) COMPREPLY=(); return ;;
    esac
    if [[ $cur == -* ]]; then
        words=$flags
    elif [[ $objects == ids ]]; then
        words=$(_drcli_column 1 tunnel list)
    elif [[ -n $objects ]]; then
        words=$(_drcli_names "$objects" "$cur")
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _drcli drcli
)script";

constexpr const char* kZsh = R"script(#compdef drcli
# zsh completion for drcli: source <(drcli completion zsh), or a file _drcli in $fpath
_drcli_ask() {
    local server=() i
    for ((i = 2; i < $#words; i++)); do
        [[ $words[i] == --server ]] && server=(--server $words[i+1])
    done
    $words[1] $server "$@" 2>&1
}
_drcli_column() {
    local column=$1
    shift
    compadd -- ${(f)"$(_drcli_ask "$@" |
        awk -v n=$column 'NR > 1 && !/^drcli: / { print $n }' | sort -u)"}
}
_drcli_names() { _drcli_column 1 $1 list --prefix "$PREFIX" --limit 100 }
_drcli_kinds() {
    compadd -- ${=$(_drcli_ask event list --kind '?' | sed -n 's/.*there are: //p' | tr -d ,)}
}
_drcli() {
    local path_so_far=drcli i commands="" flags="" objects=""
    for ((i = 2; i < CURRENT; i++)); do
        case "$path_so_far $words[i]" in
            @paths@)
                path_so_far="$path_so_far $words[i]" ;;
        esac
    done
    case "$path_so_far" in
@arms@    esac
    case "$words[CURRENT-1]" in
        -o|--output) compadd -- table json; return ;;
        @files@) _files; return ;;
        --subscriber) _drcli_names subscriber; return ;;
        --policy) _drcli_names policy; return ;;
        --state) compadd -- @states@; return ;;
        --encapsulation) compadd -- @encapsulations@; return ;;
        --kind) _drcli_kinds; return ;;
        --line) _drcli_column 3 tunnel list; return ;;
        --id|--tunnel) _drcli_column 1 tunnel list; return ;;
        --last) _drcli_column 1 stats drops; return ;;
        @values@) return ;;
    esac
    if [[ $PREFIX == -* ]]; then
        compadd -- ${=flags}
    elif [[ $objects == ids ]]; then
        _drcli_column 1 tunnel list
    elif [[ -n $objects ]]; then
        _drcli_names $objects
    else
        compadd -- ${=commands}
    fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _drcli "$@"
else
    compdef _drcli drcli
fi
)script";

std::string other_values(const CLI::App& root) {
    std::vector<std::string> patterns;
    for (const char* type : {"ADDRESS", "N", "TEXT", "TIME", "PREFIX", "ID"}) {
        const auto flags = flags_of_type(root, type);
        if (!flags.empty()) {
            patterns.push_back(flags);
        }
    }
    return joined(patterns, "|");
}

// Of an enumeration but its 0, which no option takes.
std::string names_of(const google::protobuf::EnumDescriptor* type) {
    std::vector<std::string> names;
    for (int i = 0; i < type->value_count(); ++i) {
        if (type->value(i)->number() != 0) {
            names.push_back(type->value(i)->name());
        }
    }
    return joined(names);
}

std::string script(std::string text, const CLI::App& root, const std::string& arms_text) {
    const auto replace = [&text](const std::string& mark, const std::string& part) {
        text.replace(text.find(mark), mark.size(), part);
    };
    replace("@paths@", path_patterns(nodes_of(root)));
    replace("@arms@", arms_text);
    replace("@files@", flags_of_type(root, "FILE"));
    replace("@values@", other_values(root));
    replace("@states@", names_of(dr::v1::TunnelStatus::State_descriptor()));
    replace("@encapsulations@", names_of(dr::v1::Encapsulation_descriptor()));
    return text;
}

}  // namespace

std::string bash_completion(const CLI::App& root) {
    return script(kBash, root, arms(nodes_of(root)));
}

std::string zsh_completion(const CLI::App& root) {
    // `words` is zsh's own there.
    std::string text = arms(nodes_of(root));
    for (std::size_t at = 0; (at = text.find(") words=", at)) != std::string::npos;) {
        text.replace(at, 8, ") commands=");
    }
    return script(kZsh, root, text);
}

void add_completion(CLI::App& root, Context& context) {
    auto shell = std::make_shared<std::string>();
    auto* command = add_command(
        root, context, "completion", "Print a shell completion script", [shell, &root](Context& c) {
            const auto text = *shell == "bash" ? bash_completion(root) : zsh_completion(root);
            std::fputs(text.c_str(), c.out);
            return kExitOk;
        });
    command->add_option("SHELL", *shell, "bash or zsh")
        ->required()
        ->type_name("")
        ->check([](const std::string& text) {
            return text == "bash" || text == "zsh" ? std::string()
                                                   : "must be bash or zsh, not " + text;
        });
    add_examples(*command, "source <(drcli completion bash)");
}

}  // namespace dr::cli
