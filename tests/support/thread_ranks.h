#pragma once
/// Processes as threads of one: what is collective, without a network.
#include <ATen/ATen.h>

#include <barrier>
#include <thread>

#include "rft/dist/communicator.h"

namespace rft::testing {

class ThreadRanks {
 public:
  /// Runs `body` as each of `size` ranks at once. It must not throw where others still wait for it.
  static void run(int64_t size, const std::function<void(Communicator&)>& body) {
    ThreadRanks ranks(size);
    std::vector<std::thread> threads;
    for (int64_t rank = 0; rank < size; ++rank)
      threads.emplace_back([&ranks, &body, rank] {
        One one(ranks, rank);
        body(one);
      });
    for (auto& thread : threads) thread.join();
  }

 private:
  explicit ThreadRanks(int64_t size) : size_(size), barrier_(size), tensors_(size), texts_(size) {}

  class One : public Communicator {
   public:
    One(ThreadRanks& all, int64_t rank) : all_(all), rank_(rank) {}
    int64_t rank() const override { return rank_; }
    int64_t size() const override { return all_.size_; }
    void sum(const Tensor& tensor) override {
      put(tensor.clone());
      tensor.zero_();
      for (int64_t r = 0; r < size(); ++r) tensor.add_(all_.tensors_[r]);
      all_.barrier_.arrive_and_wait();
    }
    void sum_parts(const Tensor& tensor) override {
      put(tensor.clone()), sends(tensor);
      for (int64_t away = 1; away < size(); ++away)
        part(tensor, rank_).add_(part(all_.tensors_[(rank_ + size() - away) % size()], rank_));
      all_.barrier_.arrive_and_wait();
    }
    void share_parts(const Tensor& tensor) override {
      put(tensor.clone()), sends(tensor);
      for (int64_t r = 0; r < size(); ++r) part(tensor, r).copy_(part(all_.tensors_[r], r));
      all_.barrier_.arrive_and_wait();
    }
    std::vector<std::string> gather(const std::string& mine) override {
      all_.texts_[rank_] = mine;
      all_.barrier_.arrive_and_wait();
      auto out = all_.texts_;
      all_.barrier_.arrive_and_wait();
      return out;
    }
    int64_t bytes_sent() const override { return sent_; }  // in parts
    void at(const std::string&) override {}
    void leave() override {}
    std::unique_ptr<Communicator> subgroup(const std::string&, const std::vector<int64_t>&) override {
      throw std::logic_error("threads have no groups of fewer");
    }

   private:
    void put(const Tensor& tensor) {
      all_.tensors_[rank_] = tensor;
      all_.barrier_.arrive_and_wait();
    }
    void sends(const Tensor& tensor) { sent_ += static_cast<int64_t>(tensor.nbytes()) / size() * (size() - 1); }
    Tensor part(const Tensor& tensor, int64_t rank) const {
      int64_t length = tensor.numel() / size();
      return tensor.narrow(0, rank * length, length);
    }

    ThreadRanks& all_;
    int64_t rank_, sent_ = 0;
  };

  int64_t size_;
  std::barrier<> barrier_;
  std::vector<Tensor> tensors_;
  std::vector<std::string> texts_;
};

}  // namespace rft::testing
