#include "client/cli/completion_command.h"

#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace concord {
namespace {

// What may come after a command's words.
struct Word {
  std::string text;
  std::string description;
};
struct Level {
  std::vector<std::string> path;  // {} or {"sessions", "list"}.
  std::vector<Word> commands;
  std::vector<Word> flags;
};

// Its first sentence, on one line.
std::string Brief(const std::string& description) {
  std::string brief = description.substr(0, description.find_first_of(".;:\n"));
  absl::StripAsciiWhitespace(&brief);
  return brief;
}

void Collect(CLI::App* app, std::vector<std::string> path,
             std::vector<Level>* levels) {
  Level level{path, {}, {}};
  for (const CLI::Option* option : app->get_options()) {
    for (const std::string& name : option->get_lnames()) {
      level.flags.push_back(
          {absl::StrCat("--", name), Brief(option->get_description())});
    }
  }
  const std::vector<CLI::App*> below = app->get_subcommands({});
  for (const CLI::App* command : below) {
    level.commands.push_back(
        {command->get_name(), Brief(command->get_description())});
  }
  levels->push_back(std::move(level));
  for (CLI::App* command : below) {
    path.push_back(command->get_name());
    Collect(command, path, levels);
    path.pop_back();
  }
}

// In single quotes of a shell.
std::string Quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

std::string PathOf(const Level& level) {
  return absl::StrJoin(level.path, " ");
}

// The part of a function of bash or zsh that finds the command's words among
// `words`, into $command.
std::string FindCommand(const std::vector<Level>& levels,
                        const std::string& words) {
  std::string script =
      absl::StrCat("  local command= word\n  for word in ", words,
                   "; do\n    case \"$command $word\" in\n");
  for (const Level& level : levels) {
    if (level.path.empty()) continue;
    const std::vector<std::string> above(level.path.begin(),
                                         std::prev(level.path.end()));
    absl::StrAppend(
        &script, "      ",
        Quoted(absl::StrCat(absl::StrJoin(above, " "), " ", level.path.back())),
        ") command=", Quoted(PathOf(level)), " ;;\n");
  }
  return absl::StrCat(script, "    esac\n  done\n");
}

std::string Bash(const std::vector<Level>& levels) {
  std::string script =
      absl::StrCat("_concord() {\n",
                   FindCommand(levels, "\"${COMP_WORDS[@]:1:COMP_CWORD-1}\""),
                   "  local offered=\n  case \"$command\" in\n");
  for (const Level& level : levels) {
    std::vector<std::string> words;
    for (const Word& word : level.commands) words.push_back(word.text);
    for (const Word& word : level.flags) words.push_back(word.text);
    absl::StrAppend(&script, "    ", Quoted(PathOf(level)),
                    ") offered=", Quoted(absl::StrJoin(words, " ")), " ;;\n");
  }
  // What is none of these completes as a file's name.
  return absl::StrCat(
      script,
      "  esac\n"
      "  mapfile -t COMPREPLY < <(compgen -W \"$offered\" -- "
      "\"${COMP_WORDS[COMP_CWORD]}\")\n"
      "}\ncomplete -o bashdefault -o default -F _concord concord\n");
}

std::string Zsh(const std::vector<Level>& levels) {
  std::string script =
      absl::StrCat("#compdef concord\n_concord() {\n",
                   FindCommand(levels, "\"${(@)words[2,CURRENT-1]}\""),
                   "  local -a commands flags\n  case \"$command\" in\n");
  const auto described = [](const std::vector<Word>& words) {
    return absl::StrJoin(words, " ", [](std::string* out, const Word& word) {
      absl::StrAppend(out,
                      Quoted(absl::StrCat(word.text, ":", word.description)));
    });
  };
  for (const Level& level : levels) {
    absl::StrAppend(&script, "    ", Quoted(PathOf(level)),
                    ")\n      commands=(", described(level.commands),
                    ")\n      flags=(", described(level.flags), ") ;;\n");
  }
  return absl::StrCat(script,
                      "  esac\n"
                      "  _describe command commands\n"
                      "  _describe flag flags || _files\n"
                      "}\ncompdef _concord concord\n");
}

std::string Fish(const std::vector<Level>& levels) {
  std::string script;
  for (const Level& level : levels) {
    std::vector<std::string> conditions;
    for (const std::string& word : level.path) {
      conditions.push_back(absl::StrCat("__fish_seen_subcommand_from ", word));
    }
    if (!level.commands.empty()) {
      std::vector<std::string> names;
      for (const Word& word : level.commands) names.push_back(word.text);
      conditions.push_back(absl::StrCat("not __fish_seen_subcommand_from ",
                                        absl::StrJoin(names, " ")));
    }
    const std::string begin = absl::StrCat(
        "complete -c concord -n ", Quoted(absl::StrJoin(conditions, "; and ")));
    for (const Word& word : level.commands) {
      absl::StrAppend(&script, begin, " -f -a ", word.text, " -d ",
                      Quoted(word.description), "\n");
    }
    for (const Word& word : level.flags) {
      absl::StrAppend(&script, begin, " -l ", word.text.substr(2), " -d ",
                      Quoted(word.description), "\n");
    }
  }
  return script;
}

}  // namespace

Command MakeCompletionCommand(CLI::App* app) {
  auto shell = std::make_shared<std::string>();
  CLI::App* const parser = app->add_subcommand(
      "completion",
      "Print what makes a shell complete this command line: "
      "source <(concord completion bash)");
  parser->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  return {.parser = parser, .run = [app, shell](const Print& print) {
            std::vector<Level> levels;
            Collect(app, {}, &levels);
            return print(*shell == "bash"  ? Bash(levels)
                         : *shell == "zsh" ? Zsh(levels)
                                           : Fish(levels));
          }};
}

}  // namespace concord
