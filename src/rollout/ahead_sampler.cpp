#include "rft/rollout/ahead_sampler.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "rollout/own_answers.h"

namespace rft {
namespace {

/// Ends a rollout that nobody waits for any more.
struct Stopped {};

}  // namespace

struct AheadSampler::Job {
  std::shared_ptr<SamplesPieces> sampler;  ///< let go of when it is done
  Questions questions;
  Rollout rollout;
  std::exception_ptr failed;
  bool done = false;   ///< this process's rows are there
  bool whole = false;  ///< everybody's are
};

AheadSampler::AheadSampler(RewardModel* reward, Communicator* processes)
    : reward_(reward), processes_(processes), thread_([this] { run(); }) {}

AheadSampler::~AheadSampler() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void AheadSampler::begin(std::shared_ptr<SamplesPieces> sampler, Asked asked, Questions questions, int64_t step) {
  auto job = std::make_unique<Job>();
  job->sampler = std::move(sampler), job->questions = std::move(questions);
  job->rollout.drawn.asked = std::move(asked), job->rollout.step = step;
  job->questions.sharing.processes = processes_;
  job->questions.request.progress = [this](int64_t, int64_t) {
    const std::lock_guard lock(mutex_);
    if (stopping_) throw Stopped();
  };
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.notify_all();
}

void AheadSampler::restore(Rollout rollout) {
  auto job = std::make_unique<Job>();
  job->rollout = std::move(rollout);
  job->done = job->whole = true;
  const std::lock_guard lock(mutex_);
  jobs_.push_back(std::move(job));
}

int64_t AheadSampler::waiting() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(jobs_.size());
}

int64_t AheadSampler::contexts() const {
  const std::lock_guard lock(mutex_);
  int64_t sum = 0;
  for (const auto& job : jobs_) sum += static_cast<int64_t>(job->rollout.drawn.asked.rows.size());
  return sum;
}

/// Waits for a rollout's own rows, and gets the others'.
void AheadSampler::complete(Job& job) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return job.done; });
  }
  if (job.failed) std::rethrow_exception(job.failed);
  if (job.whole) return;
  Experience& answers = job.rollout.drawn.answers;
  answers = all_answers(processes_, std::move(answers));
  job.whole = true;
}

AheadSampler::Rollout AheadSampler::take() {
  complete(*jobs_.front());
  const std::lock_guard lock(mutex_);
  Rollout out = std::move(jobs_.front()->rollout);
  jobs_.pop_front();
  return out;
}

std::vector<const AheadSampler::Rollout*> AheadSampler::finish() {
  std::vector<const Rollout*> out;
  for (const auto& job : jobs_) {
    complete(*job);
    out.push_back(&job->rollout);
  }
  return out;
}

void AheadSampler::sample(Job& job) {
  Drawn& drawn = job.rollout.drawn;
  drawn.answers = own_answers(job.questions.sharing, *job.sampler, reward_, job.questions.contexts,
                              job.questions.request, drawn.spent);
  drawn.spent.beside += drawn.spent.waited, drawn.spent.waited = 0;  // the trainer did not wait for it
}

void AheadSampler::run() {
  at::init_num_threads();  // as many as the training thread has: results depend on it
  const at::NoGradGuard no_grad;
  std::unique_lock lock(mutex_);
  for (;;) {
    Job* next = nullptr;
    changed_.wait(lock, [&] {
      auto found = std::find_if(jobs_.begin(), jobs_.end(), [](const auto& job) { return !job->done; });
      next = found == jobs_.end() ? nullptr : found->get();
      return stopping_ || next;
    });
    if (stopping_) return;
    lock.unlock();
    try {
      sample(*next);
    } catch (const Stopped&) {
      return;
    } catch (...) {
      next->failed = std::current_exception();
    }
    next->sampler.reset();
    lock.lock();
    next->done = true;
    changed_.notify_all();
  }
}

}  // namespace rft
