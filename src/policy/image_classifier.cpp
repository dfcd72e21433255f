#include "rft/policy/image_classifier.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "policy/row_image.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/rng.h"
#include "rft/core/text.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/io/rows.h"

namespace rft {
namespace {

constexpr char kPreprocessor[] = "/preprocessor_config.json";

std::unique_ptr<VisionEncoder> load_classifier(const std::string& directory) {
  std::string config = directory + "/config.json", preprocessor = directory + kPreprocessor;
  if (!file_exists(config)) bad_input(directory, "this is not a Hugging Face model directory: there is no config.json");
  return make_vision_encoder(read_text(config), file_exists(preprocessor) ? read_text(preprocessor) : "",
                             WeightSource(load_hf_tensors(directory), at::kFloat, directory), directory);
}

Tensor read_images(const Rows& rows) {
  std::vector<Tensor> images;
  for (int64_t i = 0; i < rows.size(); ++i) {
    images.push_back(row_image(rows, i, "image"));
    if (images.back().sizes() != images.front().sizes())
      bad_input(rows.where(i), "all images must have one size; ", rows.string(i, "image"),
                " differs from the first row's");
  }
  return at::stack(images);
}

}  // namespace

void ImageClassifier::Options::visit(OptionVisitor& v) {
  v.option("path", path, "a Hugging Face directory (ViTForImageClassification)", Limits().must());
}

ImageClassifier::ImageClassifier(Options options)
    : options_(std::move(options)), model_(load_classifier(options_.path)) {
  if (model_->labels().empty()) bad_input(options_.path, "the model has no classification head");
  for (const auto& [name, value] : model_->weights().tensors) Tensor(value).requires_grad_(true);
}

Experience ImageClassifier::contexts(const Rows& rows) const {
  Experience out;
  const Fields columns = rows.columns();
  for (const auto& [name, column] : columns.texts()) out.context.set_text(name, column);
  out.context.set("pixels", read_images(rows));
  if (!out.context.has_text(extra::prompt))
    out.context.set_text(extra::prompt, std::vector<std::string>(static_cast<size_t>(rows.size())));
  return out;
}

int64_t ImageClassifier::label_of(const Rows& rows, int64_t i) const {
  std::string given = rows.text(i, "class_label");
  const auto& labels = model_->labels();
  auto named = std::find(labels.begin(), labels.end(), given);
  if (named != labels.end()) return named - labels.begin();
  bool number = !given.empty() && given.size() < 10 && given.find_first_not_of("0123456789") == std::string::npos;
  int64_t label = number ? std::stoll(given) : -1;
  if (label < 0 || label >= static_cast<int64_t>(labels.size()))
    bad_input(rows.where(i), "`class_label` must be in 0 .. ", labels.size() - 1, " or a label's name; got '", given,
              "'", suggestion(given, labels));
  return label;
}

Experience ImageClassifier::demonstrations(const Rows& rows) {
  Experience out = contexts(rows);
  out.action = at::zeros({rows.size(), 1}, regressor() ? at::kFloat : at::kLong);
  for (int64_t i = 0; i < rows.size(); ++i) {
    if (!regressor()) {
      out.action[i][0] = label_of(rows, i);
      continue;
    }
    try {
      out.action[i][0] = std::stod(rows.text(i, "value"));
    } catch (const std::logic_error&) {
      bad_input(rows.where(i), "`value` must be a number; got '", rows.text(i, "value"), "'");
    }
  }
  out.mask = at::ones({rows.size(), 1}, at::kBool);
  out.group = at::arange(rows.size(), at::kLong);
  return out;
}

Experience ImageClassifier::sample(const Experience& contexts, const SampleRequest& request) {
  at::NoGradGuard no_grad;
  Experience out;
  out.group = at::arange(contexts.context.rows(), at::kLong).repeat_interleave(request.group_size);
  out.context = contexts.context.select(out.group);
  int64_t B = out.group.numel();
  Tensor logits = model_->forward(out.context.tensor("pixels")).logits;
  if (regressor()) {
    out.action = logits;
  } else {
    Tensor cumulative = logits.softmax(1).cumsum(1), uniform = at::empty({B, 1});
    for (int64_t i = 0; i < B; ++i)
      uniform[i][0] = Rng(request.seed, static_cast<uint64_t>(request.first_row() + i)).uniform(0);
    out.action =
        request.greedy ? logits.argmax(1, true) : cumulative.lt(uniform).sum(1, true).clamp_max(logits.size(1) - 1);
  }
  out.mask = at::ones({B, 1}, at::kBool);
  out.logp = judge(*model_, out).logp;
  std::vector<std::string> answers;
  for (int64_t i = 0; i < B; ++i)
    answers.push_back(regressor() ? number_text(out.action[i][0].item<double>())
                                  : model_->labels()[static_cast<size_t>(out.action[i][0].item<int64_t>())]);
  out.context.set_text(extra::completion, std::move(answers));
  return out;
}

Evaluation ImageClassifier::judge(const VisionEncoder& model, const Experience& batch) const {
  Tensor logits = model.forward(batch.context.tensor("pixels")).logits;
  Evaluation out;
  if (regressor()) {
    out.logp = logits.sub(batch.action).square().mul(-0.5);
    return out;
  }
  Tensor all = logits.log_softmax(1);
  out.logp = all.gather(1, batch.action);
  out.entropy = all.exp().mul(all).sum(1, true).neg();
  return out;
}

Evaluation ImageClassifier::evaluate(const Experience& batch, const Needs&) { return judge(*model_, batch); }

Tensor ImageClassifier::ref_logp(const Experience& batch, const Needs&) {
  at::NoGradGuard no_grad;
  if (!reference_) reference_ = load_classifier(options_.path);
  return judge(*reference_, batch).logp;
}

std::vector<Parameter> ImageClassifier::parameters() {
  std::vector<Parameter> out;
  for (const auto& [name, value] : model_->weights().tensors) out.push_back({name, value, value.dim() > 1});
  return out;
}

void ImageClassifier::save(const std::string& directory) const {
  write_text(directory + "/config.json", model_->config_json());
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, value] : model_->weights().tensors) tensors[name] = value.detach().contiguous();
  save_hf_tensors(directory, tensors);
  if (std::string file = options_.path + kPreprocessor; file_exists(file))
    write_text(directory + kPreprocessor, read_text(file));
}

void ImageClassifier::load(const std::string& directory) {
  at::NoGradGuard no_grad;
  auto tensors = load_hf_tensors(directory);
  for (const auto& [name, value] : model_->weights().tensors) {
    auto found = tensors.find(name);
    if (found == tensors.end() || found->second.sizes() != value.sizes())
      bad_input(directory, "'", name, "' must be there and be ", value.sizes());
    Tensor(value).copy_(found->second);
  }
}

}  // namespace rft
