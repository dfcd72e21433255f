#include "rft/train/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "rft/core/clock.h"
#include "rft/core/log.h"

namespace rft {
namespace {

constexpr double kRedrawSeconds = 0.1, kPlainSeconds = 5;
constexpr int kWidestBar = 30, kNarrowestBar = 6;

template <class... Args>
std::string format(const char* pattern, Args... args) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, args...);
  return text;
}

/// 1:02:03 or 02:03
std::string duration(double seconds) {
  int64_t s = std::llround(std::max(seconds, 0.0));
  long long hours = s / 3600, minutes = s / 60 % 60, rest = s % 60;
  return hours ? format("%lld:%02lld:%02lld", hours, minutes, rest) : format("%02lld:%02lld", minutes, rest);
}

/// Three or four digits: 0.5312, 17.2, 1.2k, 3.4e-05.
std::string short_number(double value) {
  double size = std::abs(value);
  if (size >= 1e12 || !std::isfinite(value)) return format("%.2g", value);
  if (size >= 1e9) return format("%.1fG", value / 1e9);
  if (size >= 1e6) return format("%.1fM", value / 1e6);
  if (size >= 1e3) return format("%.1fk", value / 1e3);
  return format("%.3g", value);
}

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

/// Columns that UTF-8 text takes: one a character.
int columns(const std::string& text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), starts_character));
}

std::string cut(const std::string& text, int width) {
  size_t i = 0;
  for (int seen = 0; i < text.size(); ++i)
    if (starts_character(text[i]) && ++seen > width) break;
  return text.substr(0, i);
}

/// A name that can't move the cursor.
std::string printable(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  return text;
}

std::string title(const ProgressState& state) {
  std::string separator = state.name.empty() || state.stage.empty() ? "" : " ";
  return printable(state.name + separator + state.stage);
}

std::string count(const ProgressState& state) {
  return state.total > 0 ? std::to_string(state.done) + "/" + std::to_string(state.total) : std::to_string(state.done);
}

/// " [=====>    ]" of `width` columns in all; empty where there is no room.
std::string bar(const ProgressState& state, int width) {
  int cells = std::min(width - 3, kWidestBar);
  if (state.total <= 0 || cells < kNarrowestBar) return "";
  double share = std::clamp(static_cast<double>(state.done) / static_cast<double>(state.total), 0.0, 1.0);
  int full = static_cast<int>(share * cells);
  std::string inside(static_cast<size_t>(full), '=');
  if (full < cells) inside += '>';
  inside.resize(static_cast<size_t>(cells), ' ');
  return " [" + inside + "]";
}

int terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool stderr_is_terminal() {
  const char* term = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) && term && std::strcmp(term, "dumb") != 0;
}

}  // namespace

ProgressOutput standard_progress_output(bool quiet) {
  if (quiet) return {};
  ProgressOutput out;
  out.terminal = stderr_is_terminal();
  out.width = terminal_width;
  out.seconds = [clock = Clock()]() mutable { return clock.seconds(); };
  out.write = [](const std::string& text) { std::fwrite(text.data(), 1, text.size(), stderr), std::fflush(stderr); };
  return out;
}

std::string progress_bar_line(const ProgressState& state, int width) {
  std::string head = title(state), tail = (head.empty() ? "" : " ") + count(state) + " " + duration(state.elapsed);
  if (state.left >= 0) tail += "<" + duration(state.left);
  int room = width - columns(head) - columns(tail) - (kNarrowestBar + 3);
  for (const auto& [name, value] : state.values) {
    std::string text = " " + printable(name) + " " + short_number(value);
    room -= columns(text);
    if (room < 0) break;
    tail += text;
  }
  head = cut(head, std::max(width - columns(tail), 0));  // the count says more than the name
  return cut(head + bar(state, width - columns(head) - columns(tail)) + tail, std::max(width, 1));
}

std::string progress_plain_line(const ProgressState& state) {
  std::string head = title(state);
  std::string line =
      head + (head.empty() ? "" : ": ") + count(state) + " " + state.unit + ", " + duration(state.elapsed) + " elapsed";
  if (state.left >= 0 && state.done != state.total) line += ", " + duration(state.left) + " left";
  for (const auto& [name, value] : state.values) line += ", " + printable(name) + " " + short_number(value);
  return line;
}

Progress::Progress(std::string name, ProgressOutput output) : output_(std::move(output)) {
  state_.name = std::move(name);
  if (output_.write && output_.terminal) log::set_before_message([this] { clear(); });
}

Progress::~Progress() {
  if (output_.write && output_.terminal) log::set_before_message({});
  finish();
}

void Progress::begin(const std::string& stage, int64_t done, int64_t total, const std::string& unit) {
  finish();
  if (!output_.write) return;
  std::lock_guard lock(mutex_);
  state_.stage = stage, state_.unit = unit, state_.done = started_at_ = done, state_.total = total;
  state_.values.clear(), state_.left = -1;
  began_ = output_.seconds(), shown_ = began_ - kPlainSeconds;
  active_ = pending_ = true;
  if (output_.terminal) show(false);
}

void Progress::update(int64_t done, const ProgressValues& values) {
  if (!output_.write) return;
  std::lock_guard lock(mutex_);
  if (!active_) return;
  state_.done = done, state_.values = values, pending_ = true;
  bool last = state_.total > 0 && done >= state_.total;
  if (last || output_.seconds() - shown_ >= (output_.terminal ? kRedrawSeconds : kPlainSeconds)) show(false);
}

void Progress::clear() {
  std::lock_guard lock(mutex_);
  clear_line();
}

void Progress::finish() {
  std::lock_guard lock(mutex_);
  if (!active_) return;
  if (pending_ || (output_.terminal && !drawn_)) show(true);
  if (drawn_) output_.write("\n");
  active_ = drawn_ = false;
}

/// The new line goes over the old one and only the rest is erased: nothing flickers.
void Progress::show(bool last) {
  double now = output_.seconds();
  state_.elapsed = now - began_;
  int64_t moved = state_.done - started_at_;
  bool known = state_.total > 0 && moved > 0 && state_.done <= state_.total;
  state_.left =
      known ? state_.elapsed / static_cast<double>(moved) * static_cast<double>(state_.total - state_.done) : -1;
  if (output_.terminal) {
    // The last column stays free: some terminals wrap as soon as it is written.
    output_.write("\r" + progress_bar_line(state_, output_.width() - 1) + "\033[K");
    drawn_ = true;
  } else if (!last || moved > 0) {
    output_.write(progress_plain_line(state_) + "\n");
  }
  shown_ = now, pending_ = false;
}

void Progress::clear_line() {
  if (!drawn_) return;
  output_.write("\r\033[K");
  drawn_ = false, pending_ = true;
}

}  // namespace rft
