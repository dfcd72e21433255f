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
  /// How the names of layer i's parameters begin (Policy::parameters()); one entry a layer. Throws UserError where the
  /// policy, as it is set up, can't do without its layers' weights.
  virtual std::vector<std::string> layer_prefixes() const = 0;
  /// From now on evaluate() goes through `gate` around each layer; null: no gate. The caller keeps it.
  virtual void set_gate(LayerGate* gate) = 0;
};

}  // namespace rft
