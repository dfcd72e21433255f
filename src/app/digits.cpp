#include "app/digits.h"

#include <ATen/ATen.h>

#include <cstdio>

#include "rft/core/error.h"
#include "rft/core/rng.h"
#include "rft/io/files.h"
#include "rft/io/image.h"

namespace rft::app {
namespace {

constexpr int64_t kSide = 8, kColumns = 64, kTrain = 1497;

struct Digits {
  Tensor images;  ///< [N, 1, 8, 8] in [0, 1]
  std::string labels;
};

Digits read_digits(const std::string& directory) {
  Digits out;
  out.labels = read_text(directory + "/labels.txt", 1 << 20);
  while (!out.labels.empty() && out.labels.back() == '\n') out.labels.pop_back();
  auto count = static_cast<int64_t>(out.labels.size());
  Tensor sheet = read_png(directory + "/digits.png")[0];
  int64_t rows = (count + kColumns - 1) / kColumns;
  if (sheet.size(0) != rows * kSide || sheet.size(1) != kColumns * kSide)
    bad_input(directory, "digits.png must hold ", count, " digits in rows of ", kColumns, "; it is ", sheet.size(1),
              " x ", sheet.size(0), " pixels");
  out.images = sheet.view({rows, kSide, kColumns, kSide}).permute({0, 2, 1, 3}).reshape({-1, 1, kSide, kSide});
  return out;
}

std::string row(int64_t i, char label) {
  char line[160];
  auto number = static_cast<long long>(i);
  std::snprintf(line, sizeof line,
                "{\"image\": \"images/%04lld.png\", \"control\": \"control/%04lld.png\", \"class_label\": %c, "
                "\"digit\": \"%c\"}\n",
                number, number, label, label);
  return line;
}

/// What a controlled model is shown of a digit [1, 8, 8]: means of 2 x 2 pixels, at the digit's size.
Tensor coarse(const Tensor& image) {
  Tensor small = image.view({1, kSide / 2, 2, kSide / 2, 2}).mean({2, 4});
  return small.repeat_interleave(2, 1).repeat_interleave(2, 2);
}

void write_rows(const DigitsArguments& arguments, const Digits& digits) {
  make_directories(arguments.out + "/images"), make_directories(arguments.out + "/control");
  std::string train, test, classes, unreliable, unseen;
  Rng wrong(static_cast<uint64_t>(arguments.seed), 2);
  for (int64_t i = 0; i < static_cast<int64_t>(digits.labels.size()); ++i) {
    char name[32];
    std::snprintf(name, sizeof name, "/%04lld.png", static_cast<long long>(i));
    write_png(arguments.out + "/images" + name, digits.images[i]);
    write_png(arguments.out + "/control" + name, coarse(digits.images[i]));
    char label = digits.labels[static_cast<size_t>(i)];
    (i < kTrain ? train : test) += row(i, label);
    if (i >= kTrain) continue;
    if (i % 2)
      unseen += row(i, label);
    else
      unreliable += row(i, label < '5' ? label : static_cast<char>('5' + wrong.below(2 * i + 1, 5)));
  }
  for (char label = '0'; label <= '9'; ++label)
    classes += cat("{\"class_label\": ", label, ", \"digit\": \"", label, "\"}\n");
  write_text(arguments.out + "/train.jsonl", train);
  write_text(arguments.out + "/test.jsonl", test);
  write_text(arguments.out + "/unreliable.jsonl", unreliable);
  write_text(arguments.out + "/unseen.jsonl", unseen);
  write_text(arguments.out + "/classes.jsonl", classes);
}

}  // namespace

void write_digits(const DigitsArguments& arguments) {
  Digits digits = read_digits(arguments.from);
  make_directories(arguments.out);
  write_rows(arguments, digits);
  write_digit_models(arguments);
  std::printf("%s: %zu images of digits (%lld to train on), untrained %s models and an untrained classifier\n",
              arguments.out.c_str(), digits.labels.size(), static_cast<long long>(kTrain),
              arguments.flow ? "flow" : "diffusion");
}

}  // namespace rft::app
