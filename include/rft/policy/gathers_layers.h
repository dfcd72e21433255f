#pragma once
/// Policies whose layers can do without their weights while they do not compute.
#include <string>
#include <vector>

#include "rft/core/parameter.h"
#include "rft/nn/layer_gate.h"

namespace rft {

class GathersLayers {
 public:
  virtual ~GathersLayers() = default;
  /// How the names of layer i's parameters begin (Policy::parameters(), or frozen_layers()); one entry a layer. Throws
  /// UserError where the policy, as it is set up, can't do without its layers' weights.
  virtual std::vector<std::string> layer_prefixes() const = 0;
  /// The layers' weights, all of one type, where they stand frozen beside what is trained; their names begin alike.
  /// What is small among them may be missing. None where the layers are trained.
  virtual std::vector<Parameter> frozen_layers() const = 0;
  /// How often ref_logp() goes through the gate, and so evaluate() once more where it asks for a divergence from the
  /// reference: 1 where that is these layers too, without adapters; else 0.
  virtual int64_t reference_passes() const = 0;
  /// From now on what the policy computes goes through `gate` around each layer; null: no gate. The caller keeps it.
  virtual void set_gate(LayerGate* gate) = 0;
};

}  // namespace rft
