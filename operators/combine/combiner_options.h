// The options of all combiners: one include and one line per method.
#ifndef CONCORD_OPERATORS_COMBINE_COMBINER_OPTIONS_H_
#define CONCORD_OPERATORS_COMBINE_COMBINER_OPTIONS_H_

#include <variant>

// clang-format off
#include "operators/combine/aligned_mtl.h"
#include "operators/combine/cagrad.h"
#include "operators/combine/config.h"
#include "operators/combine/constant.h"
#include "operators/combine/cr_mogm.h"
#include "operators/combine/db_mtl.h"
#include "operators/combine/dualproj.h"
#include "operators/combine/fairgrad.h"
#include "operators/combine/graddrop.h"
#include "operators/combine/gradvac.h"
#include "operators/combine/imtlg.h"
#include "operators/combine/krum.h"
#include "operators/combine/mean.h"
#include "operators/combine/mgda.h"
#include "operators/combine/nash_mtl.h"
#include "operators/combine/pcgrad.h"
#include "operators/combine/random.h"
#include "operators/combine/sum.h"
#include "operators/combine/trimmed_mean.h"
#include "operators/combine/upgrad.h"
// clang-format on

namespace concord {

// clang-format off
using CombinerOptions = std::variant<
    ConFIGOptions
    , MeanOptions
    , SumOptions
    , ConstantOptions
    , RandomOptions
    , PCGradOptions
    , GradVacOptions
    , IMTLGOptions
    , MGDAOptions
    , UPGradOptions
    , DualProjOptions
    , CAGradOptions
    , NashMTLOptions
    , FairGradOptions
    , AlignedMTLOptions
    , KrumOptions
    , CRMOGMOptions
    , GradDropOptions
    , TrimmedMeanOptions
    , DBMTLOptions
    >;
// clang-format on

struct WrappedCombiner {
  CombinerOptions options;
  bool operator==(const WrappedCombiner&) const = default;
};

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_COMBINER_OPTIONS_H_
