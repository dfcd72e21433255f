#include "app/loss_batch.h"

#include <ATen/ATen.h>

#include <set>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/text.h"

namespace rft::app {
namespace {

using Tensors = std::map<std::string, Tensor>;

/// Hands out the file's tensors by name and remembers which were asked for.
class Reader {
 public:
  Reader(const Tensors& tensors, std::string where) : tensors_(tensors), where_(std::move(where)) {}

  bool has(const std::string& name) const { return tensors_.count(name) > 0; }

  /// Throws where one of `names` is missing; `missing` is what is known to be so already, as text.
  void need(const std::vector<std::string>& names, std::vector<std::string> missing = {}) const {
    std::vector<std::string> present;
    for (const auto& name : names)
      if (!has(name)) missing.push_back("`" + name + "`");
    for (const auto& [name, value] : tensors_) present.push_back(name);
    if (!missing.empty())
      bad_input(where_, "the objective needs ", join(missing, ", "), "; the file has ", join(present, ", "));
  }

  /// The shape that all [B, T] tensors, or [B] ones with `dim` 1, must have.
  void set_shape(const std::string& name, int64_t dim = 2) {
    const Tensor& x = tensors_.at(name);
    if (x.dim() != dim) misshapen(name, x, dim == 2 ? "[B, T]" : "[B]");
    shape_ = x.sizes().vec();
    shape_name_ = name;
  }
  /// The same rows, with as many columns as `name` has.
  void set_columns(const std::string& name) {
    const Tensor& x = tensors_.at(name);
    if (x.dim() != 2 || x.size(0) != shape_[0]) misshapen(name, x, cat("[", shape_[0], ", any]"));
    set_shape(name);
  }

  /// A float tensor of the shape, or undefined where there is none.
  Tensor values(const std::string& name) {
    Tensor x = take(name);
    if (!x.defined()) return x;
    if (x.scalar_type() != at::kFloat && x.scalar_type() != at::kDouble)
      bad_input(where_, "`", name, "` must be float32 or float64; got ", x.toString());
    if (x.sizes().vec() != shape_) misshapen(name, x, cat("as `", shape_name_, "`, ", at::IntArrayRef(shape_)));
    return x;
  }
  /// As values, but one number a row is taken too.
  Tensor rows_or_values(const std::string& name) {
    return !has(name) || tensors_.at(name).dim() != 1 ? values(name) : rows(name);
  }
  /// [B, T, ...] floats, or undefined where there is none.
  Tensor decisions(const std::string& name) {
    Tensor x = take(name);
    if (x.defined() && (!x.is_floating_point() || x.dim() < 3 || x.size(0) != shape_[0] || x.size(1) != shape_[1]))
      misshapen(name, x, cat("float [", shape_[0], ", ", shape_[1], ", ...]"));
    return x;
  }
  /// One float a row, or undefined where there is none.
  Tensor rows(const std::string& name) {
    Tensor x = take(name);
    if (x.defined() && (!x.is_floating_point() || x.dim() != 1 || x.size(0) != shape_[0]))
      misshapen(name, x, cat("float [", shape_[0], "]"));
    return x;
  }
  /// One verdict a row, true where it is not 0, as float.
  Tensor label() {
    Tensor x = take(extra::label);
    if (x.dim() != 1 || x.size(0) != shape_[0]) misshapen(extra::label, x, cat("[", shape_[0], "]"));
    return x.ne(0).to(at::kFloat);
  }
  /// True where the tensor is not 0.
  Tensor mask(const std::string& name) {
    Tensor x = take(name);
    if (x.sizes().vec() != shape_) misshapen(name, x, cat("as `", shape_name_, "`, ", at::IntArrayRef(shape_)));
    return x.ne(0);
  }
  Tensor group() {
    Tensor x = take("group");
    if (!x.defined()) return x;
    if (x.scalar_type() != at::kLong || x.dim() != 1 || x.size(0) != shape_[0])
      misshapen("group", x, cat("int64 [", shape_[0], "]"));
    return x;
  }
  /// What nobody asked for, one row a trajectory or pair.
  Tensors rest() const {
    Tensors out;
    for (const auto& [name, value] : tensors_) {
      if (taken_.count(name)) continue;
      if (value.dim() == 0 || value.size(0) != shape_[0])
        misshapen(name, value, cat("one row for each of ", shape_[0]));
      out[name] = value;
    }
    return out;
  }

 private:
  Tensor take(const std::string& name) {
    if (!has(name)) return {};
    taken_.insert(name);
    return tensors_.at(name);
  }
  [[noreturn]] void misshapen(const std::string& name, const Tensor& x, const std::string& wanted) const {
    bad_input(where_, "`", name, "` must be ", wanted, "; got ", x.toString(), " ", x.sizes());
  }

  const Tensors& tensors_;
  std::string where_, shape_name_;
  std::vector<int64_t> shape_;
  std::set<std::string> taken_;
};

/// Notes `x` as what the model produced: its gradient is written.
Tensor leaf(LossBatch& out, const std::string& name, const Tensor& x) {
  if (!x.defined()) return x;
  out.leaves.emplace_back(name, x.detach().clone().set_requires_grad(true));
  return out.leaves.back().second;
}

/// What rows of answers have in common, whatever is said of them; sets the file's shape.
LossBatch read_answers(Reader& file) {
  file.set_shape("logp");
  LossBatch out;
  out.now.logp = leaf(out, "logp", file.values("logp"));
  out.now.entropy = leaf(out, "entropy", file.values("entropy"));
  out.now.value = leaf(out, "value", file.values("value"));
  out.batch.mask = file.mask("mask");
  out.batch.ref_logp = file.values("ref_logp");
  return out;
}

/// Everything that nobody asked for reaches the objective under its name.
void take_rest(Reader& file, Experience& batch) {
  for (const auto& [name, value] : file.rest()) batch.extra.set(name, value);
}

/// Clean samples (`action`) and what denoisers made of them.
void read_estimates(Reader& file, const Needs& needs, LossBatch& out) {
  std::vector<std::string> wanted{"action", extra::estimate, extra::old_estimate};
  if (needs.ref_estimate) wanted.insert(wanted.end(), {extra::ref_estimate, extra::estimate_scale});
  file.need(wanted);
  out.batch.action = file.decisions("action");
  out.batch.extra.set(extra::old_estimate, file.decisions(extra::old_estimate));
  out.now.extra.set(extra::estimate, leaf(out, extra::estimate, file.decisions(extra::estimate)));
  if (!needs.ref_estimate) return;
  out.now.extra.set(extra::ref_estimate, file.decisions(extra::ref_estimate));
  out.now.extra.set(extra::estimate_scale, file.values(extra::estimate_scale));
}

LossBatch read_rows(Reader& file, const Needs& needs) {
  std::vector<std::string> wanted{"logp", "mask"}, missing;
  bool rewarded = needs.advantage && !file.has("advantage");
  if (rewarded) {
    if (file.has("reward") || file.has("group"))
      wanted.insert(wanted.end(), {"reward", "group"});
    else
      missing.push_back("`advantage` (or `reward` and `group`)");
  }
  if (needs.ref_logp) wanted.push_back("ref_logp");
  if (needs.entropy) wanted.push_back("entropy");
  if (needs.value) wanted.insert(wanted.end(), {"value", extra::old_value});
  if (needs.value && !rewarded) wanted.push_back(extra::returns);  // else the credit makes them
  if (needs.divergence) wanted.push_back(extra::divergence);
  if (needs.greedy && rewarded) wanted.push_back(extra::greedy_reward);
  file.need(wanted, missing);
  LossBatch out = read_answers(file);
  Experience& b = out.batch;
  b.old_logp = file.values("old_logp");
  b.logp = file.values("sampling_logp");
  if (!b.logp.defined()) b.logp = b.old_logp.defined() ? b.old_logp : out.now.logp.detach();
  b.reward = file.rows_or_values("reward");
  b.group = file.group();
  b.advantage = file.rows_or_values("advantage");
  if (b.advantage.defined() && b.advantage.dim() == 1) b.advantage = b.advantage.unsqueeze(1).expand(b.mask.sizes());
  for (const char* name : {extra::old_value, extra::returns})
    if (file.has(name)) b.extra.set(name, file.values(name));
  if (needs.divergence)
    out.now.extra.set(extra::divergence, leaf(out, extra::divergence, file.values(extra::divergence)));
  if (needs.estimate) read_estimates(file, needs, out);
  take_rest(file, b);
  return out;
}

LossBatch read_unpaired(Reader& file, const Needs& needs) {
  std::vector<std::string> wanted{"logp", "mask", extra::label};
  if (needs.ref_logp) wanted.push_back("ref_logp");
  if (needs.entropy) wanted.push_back("entropy");
  // What such an objective compares over the whole batch is the likelihood of answers to other prompts.
  bool compares = needs.mismatched || file.has(extra::kl_logp);
  if (compares) wanted.insert(wanted.end(), {extra::kl_logp, extra::kl_ref_logp, extra::kl_mask});
  file.need(wanted);
  LossBatch out = read_answers(file);
  Experience& b = out.batch;
  b.extra.set(extra::label, file.label());
  if (compares) {
    file.set_columns(extra::kl_logp);
    for (const char* name : {extra::kl_logp, extra::kl_ref_logp}) b.extra.set(name, file.values(name));
    b.extra.set(extra::kl_mask, file.mask(extra::kl_mask));
    file.set_shape("logp");
  }
  take_rest(file, b);
  return out;
}

LossBatch read_pathwise(Reader& file, const Needs& needs) {
  std::vector<std::string> wanted{"reward"};
  if (file.has("logp")) wanted.push_back("mask");
  if (needs.group_size > 1 && !file.has(extra::uncertainty)) wanted.push_back("group");
  file.need(wanted);
  LossBatch out;
  if (file.has("logp")) {
    out = read_answers(file);
  } else {  // no decisions: terms over them are 0
    file.set_shape("reward", 1);
    Tensor none = at::zeros_like(file.rows("reward")).unsqueeze(1);
    out.now.logp = none, out.batch.mask = none.ne(0);
  }
  out.now.reward = leaf(out, "reward", file.rows("reward"));
  for (const char* name : {extra::uncertainty, extra::path_kl})
    if (file.has(name)) out.now.extra.set(name, leaf(out, name, file.rows(name)));
  out.batch.group = file.group();
  take_rest(file, out.batch);
  return out;
}

/// Scores of steps, and the verdicts on them.
LossBatch read_steps(Reader& file) {
  file.need({"score", "mask", extra::step_label});
  file.set_shape("score");
  LossBatch out;
  out.now.score = leaf(out, "score", file.values("score"));
  out.batch.mask = file.mask("mask");
  out.batch.extra.set(extra::step_label, file.values(extra::step_label));
  take_rest(file, out.batch);
  return out;
}

LossBatch read_pairs(Reader& file, const Needs& needs) {
  bool scores = needs.score;
  std::string produced = scores ? "score" : "logp";
  std::vector<std::string> wanted{"chosen_" + produced, "rejected_" + produced};
  if (!scores) wanted.insert(wanted.end(), {"chosen_mask", "rejected_mask"});
  if (needs.ref_logp) wanted.insert(wanted.end(), {"ref_chosen_logp", "ref_rejected_logp"});
  if (needs.entropy) wanted.insert(wanted.end(), {"chosen_entropy", "rejected_entropy"});
  std::vector<std::string> blocks{"chosen_", "rejected_"};
  if (needs.gold) blocks.push_back("gold_"), wanted.insert(wanted.end(), {"gold_logp", "gold_mask"});
  file.need(wanted);
  LossBatch out;
  Experience& b = out.batch;
  // The blocks may differ in T: they are padded to the longest.
  std::vector<Tensor> logp, entropy, score, ref, mask;
  for (const std::string& half : blocks) {
    file.set_shape(half + produced, scores ? 1 : 2);
    logp.push_back(leaf(out, half + "logp", file.values(half + "logp")));
    entropy.push_back(leaf(out, half + "entropy", file.values(half + "entropy")));
    score.push_back(leaf(out, half + "score", file.values(half + "score")));
    ref.push_back(file.values("ref_" + half + "logp"));
    mask.push_back(scores ? at::ones({score.back().size(0), 1}, at::kBool) : file.mask(half + "mask"));
  }
  for (size_t k = 1; k < blocks.size(); ++k)
    if (mask[0].size(0) != mask[k].size(0))
      file.set_shape("chosen_" + produced, scores ? 1 : 2), file.values(blocks[k] + produced);
  out.now.logp = concat_rows(logp);
  out.now.entropy = concat_rows(entropy);
  out.now.score = concat_rows(score);
  b.ref_logp = concat_rows(ref);
  b.mask = concat_rows(mask);
  auto count = static_cast<int64_t>(blocks.size());
  for (const auto& [name, value] : file.rest())
    b.extra.set(name, at::cat(std::vector<Tensor>(blocks.size(), value), 0));
  if (needs.gold) b.extra.set(extra::given, at::arange(b.rows()).ge(b.rows() / count * (count - 1)));
  return out;
}

}  // namespace

LossBatch read_loss_batch(const Tensors& tensors, const Needs& needs, const std::string& where) {
  Reader file(tensors, where);
  auto read = needs.pathwise                        ? read_pathwise
              : needs.data == Needs::Data::pairs    ? read_pairs
              : needs.data == Needs::Data::unpaired ? read_unpaired
                                                    : read_rows;
  LossBatch out = needs.data == Needs::Data::steps ? read_steps(file) : read(file, needs);
  out.batch.fill_totals();
  return out;
}

}  // namespace rft::app
