#include "reward/labels.h"

#include <algorithm>

#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {

int64_t label_index(const std::vector<std::string>& labels, const std::string& label, const std::string& option) {
  auto found = std::find(labels.begin(), labels.end(), label);
  if (found == labels.end())
    bad_input(option, "must be one of the model's labels; got '", label, "'", suggestion(label, labels));
  return found - labels.begin();
}

}  // namespace rft
