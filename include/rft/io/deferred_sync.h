#pragma once
/// Files that need not be on the disk yet.

namespace rft {

/// While one lives, what this thread writes with io/files.h is in the system's file cache and appears whole, but is not
/// waited for until it is on the disk: whoever makes it syncs the files later, before they count.
class DeferredSync {
 public:
  DeferredSync();
  ~DeferredSync();
  DeferredSync(const DeferredSync&) = delete;
  DeferredSync& operator=(const DeferredSync&) = delete;

 private:
  bool outer_;
};

}  // namespace rft
