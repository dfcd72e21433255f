#pragma once
/// Published methods as compositions of what is built in: for `rft list methods` and docs/methods.md.
#include <string>
#include <vector>

namespace rft::app {

struct Method {
  std::string group, name, paper;
  std::string formula;      ///< what is minimised, or what makes it this method
  std::string composition;  ///< the blocks of a recipe that make it, YAML
  std::string recipe;       ///< a file under configs/ that runs it; "" for none
};

const std::vector<Method>& methods();
/// All of it, in Markdown.
std::string methods_page();
/// The methods whose composition uses `type`, by name.
std::vector<std::string> methods_with(const std::string& type);

}  // namespace rft::app
