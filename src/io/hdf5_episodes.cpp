#include "io/hdf5_episodes.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "rft/core/error.h"
#include "rft/core/text.h"

#ifdef RFT_HAS_HDF5

#include <hdf5.h>

namespace rft {
namespace {

constexpr hsize_t kMaxNumbers = hsize_t{1} << 30;  // of one array: 8 GiB
constexpr hsize_t kMaxLinks = 10'000'000;

/// A handle of the library's, closed with its object.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  operator hid_t() const { return id_; }  // NOLINT: the library's functions take it
  bool open() const { return id_ >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

/// A group of the file (or its root), and how to speak of what is in it.
struct Place {
  hid_t group;
  std::string file, path;
  std::string of(const std::string& name) const { return cat(file, ":", path, name); }
};

std::vector<std::string> names_in(const Place& place) {
  H5G_info_t info;
  if (H5Gget_info(place.group, &info) < 0 || info.nlinks > kMaxLinks)
    bad_input(place.of(""), "this group can't be read, or holds more than ", kMaxLinks, " entries");
  std::vector<std::string> out;
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    char name[256];
    auto length =
        H5Lget_name_by_idx(place.group, ".", H5_INDEX_NAME, H5_ITER_NATIVE, i, name, sizeof name, H5P_DEFAULT);
    if (length < 0) bad_input(place.of(""), "the names in this group can't be read");
    if (length < static_cast<ssize_t>(sizeof name)) out.emplace_back(name);
  }
  return out;
}

/// Throws where `name` is not kept in this very file.
void check_link(const Place& place, const std::string& name) {
  H5L_info_t link;
  if (H5Lget_info(place.group, name.c_str(), &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD)
    bad_input(place.of(name), "must be in the file itself; got a link to elsewhere");
}

bool has(const Place& place, const std::string& name) { return H5Lexists(place.group, name.c_str(), H5P_DEFAULT) > 0; }

void check_storage(hid_t data, const std::string& where) {
  Handle plan(H5Dget_create_plist(data), H5Pclose);
  if (!plan.open() || H5Pget_layout(plan) == H5D_VIRTUAL || H5Pget_external_count(plan) != 0)
    bad_input(where, "must be in the file itself; got numbers that are kept in other files");
  for (int i = 0; i < H5Pget_nfilters(plan); ++i) {
    unsigned flags = 0, config = 0;
    size_t none = 0;
    auto filter = H5Pget_filter2(plan, static_cast<unsigned>(i), &flags, &none, nullptr, 0, nullptr, &config);
    if (filter < 0 || filter >= H5Z_FILTER_RESERVED)
      bad_input(where, "is packed with a filter that HDF5 itself does not have; write it with gzip or unpacked");
  }
}

/// Rows and width of an array of one or two dimensions.
std::pair<hsize_t, hsize_t> shape_of(hid_t data, const std::string& where) {
  Handle space(H5Dget_space(data), H5Sclose);
  hsize_t sizes[2] = {0, 1};
  int dimensions = space.open() ? H5Sget_simple_extent_ndims(space) : -1;
  if (dimensions < 1 || dimensions > 2)
    bad_input(where, "must have one or two dimensions, step by step; got ", dimensions);
  H5Sget_simple_extent_dims(space, sizes, nullptr);
  if (sizes[0] > kMaxNumbers || sizes[1] > kMaxNumbers || sizes[0] * sizes[1] > kMaxNumbers)
    bad_input(where, "may hold at most ", kMaxNumbers, " numbers; got ", sizes[0], " x ", sizes[1]);
  return {sizes[0], sizes[1]};
}

/// [L, width] float64.
Tensor array(const Place& place, const std::string& name) {
  std::string where = place.of(name);
  check_link(place, name);
  Handle data(H5Dopen2(place.group, name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!data.open())
    bad_input(where, "must be an array of numbers; a group of arrays (a dictionary of observations) is not read");
  check_storage(data, where);
  auto [rows, width] = shape_of(data, where);
  Handle type(H5Dget_type(data), H5Tclose);
  H5T_class_t kind = type.open() ? H5Tget_class(type) : H5T_NO_CLASS;
  std::vector<int64_t> sizes{static_cast<int64_t>(rows), static_cast<int64_t>(width)};
  if (kind == H5T_ENUM && H5Tget_size(type) == 1) {  // truth values, as h5py writes them
    Tensor out = at::zeros(sizes, at::kByte);
    if (H5Dread(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out.mutable_data_ptr()) < 0)
      bad_input(where, "these numbers can't be read: the file is damaged");
    return out.to(at::kDouble);
  }
  if (kind != H5T_INTEGER && kind != H5T_FLOAT) bad_input(where, "must be an array of numbers or truth values");
  Tensor out = at::zeros(sizes, at::kDouble);
  if (H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, out.mutable_data_ptr()) < 0)
    bad_input(where, "these numbers can't be read: the file is damaged");
  return out;
}

Tensor array_or_none(const Place& place, const std::string& name) {
  return has(place, name) ? array(place, name) : Tensor();
}

/// `name` must have `rows` rows of `width` numbers.
void check_rows(const Place& place, const std::string& name, const Tensor& x, int64_t rows, int64_t width) {
  if (x.defined() && (x.size(0) != rows || (width > 0 && x.size(1) != width)))
    bad_input(place.of(name), "must hold ", rows, " rows", width > 0 ? cat(" of ", width) : "", "; got ", x.size(0),
              " of ", x.size(1));
}

/// Numbers of the steps after which an episode ends, the last of the file among them.
std::vector<int64_t> ends_of(const Tensor& terminals, const Tensor& timeouts, int64_t steps) {
  std::vector<int64_t> out;
  auto at = [](const Tensor& x, int64_t i) { return x.defined() && x.const_data_ptr<double>()[i] != 0; };
  for (int64_t i = 0; i < steps; ++i)
    if (at(terminals, i) || at(timeouts, i) || i + 1 == steps) out.push_back(i);
  return out;
}

std::vector<Hdf5Episode> flat_episodes(const Place& root) {
  Tensor seen = array(root, "observations"), done = array(root, "actions");
  int64_t steps = done.size(0);
  check_rows(root, "observations", seen, steps, 0);
  Tensor rewards = array_or_none(root, "rewards"), terminals = array_or_none(root, "terminals"),
         timeouts = array_or_none(root, "timeouts"), next = array_or_none(root, "next_observations");
  check_rows(root, "rewards", rewards, steps, 1), check_rows(root, "terminals", terminals, steps, 1);
  check_rows(root, "timeouts", timeouts, steps, 1), check_rows(root, "next_observations", next, steps, seen.size(1));
  if (!terminals.defined() && !timeouts.defined())
    bad_input(root.of("terminals"), "is needed, or `timeouts`: where episodes end");
  std::vector<Hdf5Episode> out;
  int64_t begin = 0;
  for (int64_t end : ends_of(terminals, timeouts, steps)) {
    auto part = [&](const Tensor& x) { return x.narrow(0, begin, end - begin + 1); };
    Hdf5Episode one{static_cast<int64_t>(out.size()), {}, false};
    one.arrays["observations"] =
        next.defined() ? at::cat({part(seen), next.narrow(0, end, 1)}) : part(seen).contiguous();
    one.arrays["actions"] = part(done).contiguous();
    if (rewards.defined()) one.arrays["rewards"] = part(rewards).contiguous();
    one.terminated = terminals.defined() && terminals.const_data_ptr<double>()[end] != 0;
    out.push_back(std::move(one)), begin = end + 1;
  }
  return out;
}

Hdf5Episode grouped_episode(const Place& root, const std::string& name, int64_t number) {
  check_link(root, name);
  Handle group(H5Gopen2(root.group, name.c_str(), H5P_DEFAULT), H5Gclose);
  if (!group.open()) bad_input(root.of(name), "must be a group of arrays, one for each episode");
  Place place{group, root.file, root.path + name + "/"};
  for (const char* needed : {"observations", "actions"})
    if (!has(place, needed)) bad_input(place.of(needed), "is needed; the group has: ", join(names_in(place), ", "));
  Hdf5Episode out{number, {}, false};
  Tensor done = out.arrays["actions"] = array(place, "actions");
  Tensor seen = out.arrays["observations"] = array(place, "observations");
  if (seen.size(0) != done.size(0) && seen.size(0) != done.size(0) + 1)
    bad_input(place.of("observations"), "must be one for each of the ", done.size(0), " actions, or one more; got ",
              seen.size(0));
  if (Tensor rewards = array_or_none(place, "rewards"); rewards.defined()) {
    check_rows(place, "rewards", rewards, done.size(0), 1);
    out.arrays["rewards"] = rewards;
  }
  if (Tensor ended = array_or_none(place, "terminations"); ended.defined() && ended.size(0) > 0) {
    check_rows(place, "terminations", ended, done.size(0), 1);
    out.terminated = ended.const_data_ptr<double>()[ended.size(0) - 1] != 0;
  }
  return out;
}

/// The number of a group "episode_12", or -1.
int64_t episode_number(const std::string& name) {
  constexpr std::string_view kPrefix = "episode_";
  if (!name.starts_with(kPrefix) || name.size() == kPrefix.size() || name.size() > kPrefix.size() + 12) return -1;
  std::string digits = name.substr(kPrefix.size());
  return std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }) ? std::stoll(digits)
                                                                                                : -1;
}

}  // namespace

std::vector<Hdf5Episode> read_hdf5_episodes(const std::string& file) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // what goes wrong is said here, once
  H5PLset_loading_state(0);                     // no plugins, whatever a file asks for
  Handle opened(H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!opened.open()) bad_input(file, "there is no such file, or it is not HDF5");
  Place root{opened, file, "/"};
  if (has(root, "observations") && has(root, "actions")) return flat_episodes(root);
  std::vector<std::pair<int64_t, std::string>> groups;
  auto names = names_in(root);
  for (const auto& name : names)
    if (int64_t number = episode_number(name); number >= 0) groups.emplace_back(number, name);
  if (groups.empty()) {
    std::sort(names.begin(), names.end());
    if (names.size() > 12) names.resize(12), names.emplace_back("...");
    bad_input(file,
              "must hold arrays `observations` and `actions` side by side (D4RL) or groups episode_0, episode_1, .. "
              "(Minari); it holds: ",
              names.empty() ? "nothing" : join(names, ", "));
  }
  std::sort(groups.begin(), groups.end());
  std::vector<Hdf5Episode> out;
  for (const auto& [number, name] : groups) out.push_back(grouped_episode(root, name, number));
  return out;
}

}  // namespace rft

#else

namespace rft {

std::vector<Hdf5Episode> read_hdf5_episodes(const std::string& file) {
  bad_input(file, "this build does not read HDF5: install libhdf5-dev, configure and build again");
}

}  // namespace rft

#endif
