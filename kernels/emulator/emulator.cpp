#include "kernels/emulator/emulator.h"

#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace rft::kernels::emulator {
namespace {

constexpr std::size_t kStack = 128 * 1024;

// Changing contexts saves the signal mask, a system call; jumps do not, but the address sanitizer knows only contexts.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kJumps = false;
#else
constexpr bool kJumps = true;
#endif

/// Where a thread, or who runs them, goes on.
struct Place {
  ucontext_t context;
  jmp_buf jump;
  bool entered = false;  ///< it has run before
};

void change(Place& from, Place& to) {
  if (!kJumps) {
    swapcontext(&from.context, &to.context);
    return;
  }
  if (_setjmp(from.jump)) return;
  from.entered = true;
  if (to.entered) _longjmp(to.jump, 1);
  setcontext(&to.context);
}

/// A thread of the block that runs; of the next block, the thread with the same number.
struct Fiber {
  enum class State { ready, at_block_barrier, at_warp_barrier, done };
  Place place;
  State state = State::ready;
  unsigned mask = 0;  ///< the lanes that the warp barrier waits for
};

/// Thread i's, kept from kernel to kernel.
unsigned char* stack_of(std::size_t i) {
  thread_local std::vector<std::unique_ptr<unsigned char[]>> stacks;
  while (stacks.size() <= i) stacks.push_back(std::make_unique_for_overwrite<unsigned char[]>(kStack));
  return stacks[i].get();
}

class Block {
 public:
  Block(unsigned threads, const std::function<void()>& kernel) : kernel_(kernel), fibers_(threads) {
    lanes_.resize((threads + 31) / 32 * 32 * kLaneBytes);
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
      ucontext_t& context = fibers_[i].place.context;
      getcontext(&context);
      context.uc_stack.ss_sp = stack_of(i), context.uc_stack.ss_size = kStack, context.uc_link = nullptr;
      makecontext(&context, &Block::enter, 0);
    }
  }

  void run();
  void wait(Fiber::State barrier, unsigned mask);
  unsigned current() const { return current_; }
  unsigned char* lanes_of_warp() { return lanes_.data() + std::size_t{current_ / 32} * 32 * kLaneBytes; }

 private:
  static void enter();
  void resume(unsigned thread);
  bool release_warps();
  bool release_block();

  const std::function<void()>& kernel_;
  std::vector<Fiber> fibers_;
  std::vector<unsigned char> lanes_;
  Place scheduler_;
  unsigned current_ = 0;
};

thread_local Block* block = nullptr;
thread_local std::vector<unsigned char> shared;

void Block::enter() {
  for (;;) {
    block->kernel_();
    block->wait(Fiber::State::done, 0);
  }
}

void Block::resume(unsigned thread) {
  current_ = thread;
  threadIdx = {thread, 0, 0};
  change(scheduler_, fibers_[thread].place);
}

void Block::wait(Fiber::State barrier, unsigned mask) {
  unsigned self = current_;
  fibers_[self].state = barrier, fibers_[self].mask = mask;
  change(fibers_[self].place, scheduler_);
}

/// Lets every group of lanes go on of which all have arrived.
bool Block::release_warps() {
  bool any = false;
  for (unsigned i = 0; i < fibers_.size(); ++i) {
    if (fibers_[i].state != Fiber::State::at_warp_barrier) continue;
    unsigned first = i / 32 * 32, mask = fibers_[i].mask;
    bool all = true;
    for (unsigned lane = 0; lane < 32; ++lane) {
      if (!(mask >> lane & 1) || first + lane >= fibers_.size()) continue;
      const Fiber& other = fibers_[first + lane];
      all = all && other.state == Fiber::State::at_warp_barrier && other.mask == mask;
    }
    if (!all) continue;
    for (unsigned lane = 0; lane < 32; ++lane)
      if ((mask >> lane & 1) && first + lane < fibers_.size()) fibers_[first + lane].state = Fiber::State::ready;
    any = true;
  }
  return any;
}

/// As on a GPU, threads that are done are not waited for.
bool Block::release_block() {
  bool any = false;
  for (const Fiber& fiber : fibers_) {
    if (fiber.state == Fiber::State::at_warp_barrier) return false;
    any = any || fiber.state == Fiber::State::at_block_barrier;
  }
  for (Fiber& fiber : fibers_)
    if (fiber.state == Fiber::State::at_block_barrier) fiber.state = Fiber::State::ready;
  return any;
}

void Block::run() {
  block = this;
  for (Fiber& fiber : fibers_) fiber.state = Fiber::State::ready;
  for (;;) {
    for (unsigned i = 0; i < fibers_.size(); ++i)
      if (fibers_[i].state == Fiber::State::ready) resume(i);
    bool unfinished = false;
    for (const Fiber& fiber : fibers_) unfinished = unfinished || fiber.state != Fiber::State::done;
    if (!unfinished) return;
    if (release_warps() || release_block()) continue;
    std::fprintf(stderr, "[emulator] block (%u, %u, %u): some threads wait at a barrier that the others never reach\n",
                 blockIdx.x, blockIdx.y, blockIdx.z);
    std::abort();
  }
}

}  // namespace

int run(dim3 grid, unsigned threads, std::size_t bytes, const std::function<void()>& kernel) {
  if (threads == 0 || threads > 1024) return 1;  // cudaErrorInvalidValue
  blockDim = {threads, 1, 1}, gridDim = grid;
  Block runner(threads, kernel);
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        shared.assign(bytes + 16, 0xFF);  // what a block finds there is anybody's guess
        runner.run();
      }
  block = nullptr;
  return 0;
}

unsigned char* dynamic_shared() {
  auto at = reinterpret_cast<std::uintptr_t>(shared.data());
  return shared.data() + (16 - at % 16) % 16;
}

int lane() { return static_cast<int>(block->current() % 32); }
void block_barrier() { block->wait(Fiber::State::at_block_barrier, 0); }
void warp_barrier(unsigned mask) { block->wait(Fiber::State::at_warp_barrier, mask); }

const unsigned char* exchanged(unsigned mask, const void* mine, std::size_t size) {
  unsigned char* lanes = block->lanes_of_warp();
  std::memcpy(lanes + static_cast<std::size_t>(lane()) * kLaneBytes, mine, size);
  warp_barrier(mask);
  return lanes;
}

float widened(bf16 x) { return __uint_as_float(unsigned{x.bits} << 16); }
float widened(f16 x) {
  _Float16 h;
  std::memcpy(&h, &x.bits, 2);
  return static_cast<float>(h);
}
template <>
bf16 narrowed<bf16>(float x) {
  unsigned bits = __float_as_uint(x);
  if (std::isnan(x)) return {0x7FC0};
  return {static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
}
template <>
f16 narrowed<f16>(float x) {
  auto h = static_cast<_Float16>(x);
  f16 out;
  std::memcpy(&out.bits, &h, 2);
  return out;
}

void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  struct Operands {
    uint32_t a[4], b[2];
  } mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const unsigned char* all = exchanged(0xffffffffu, &mine, sizeof(mine));
  auto of = [&](int of_lane) {
    Operands out;
    std::memcpy(&out, all + static_cast<std::size_t>(of_lane) * kLaneBytes, sizeof(out));
    return out;
  };
  auto half = [](uint32_t pair, int which) { return __uint_as_float(which ? pair & 0xFFFF0000u : pair << 16); };
  int row = lane() / 4, pair = lane() % 4;
  for (int i = 0; i < 4; ++i) {
    int m = row + 8 * (i / 2), n = 2 * pair + i % 2;
    float sum = 0;
    for (int k = 0; k < 16; ++k) {
      int holder = k % 8 / 2, upper = k / 8;
      float x = half(of(m % 8 * 4 + holder).a[2 * upper + m / 8], k % 2);
      float y = half(of(n * 4 + holder).b[upper], k % 2);
      sum += x * y;
    }
    d[i] += sum;
  }
  warp_barrier(0xffffffffu);
}

}  // namespace rft::kernels::emulator

unsigned __ballot_sync(unsigned mask, bool predicate) {
  using namespace rft::kernels::emulator;
  unsigned char mine = predicate ? 1 : 0;
  const unsigned char* all = exchanged(mask, &mine, 1);
  unsigned out = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if ((mask >> lane & 1) && all[lane * kLaneBytes]) out |= 1u << lane;
  warp_barrier(mask);
  return out;
}
