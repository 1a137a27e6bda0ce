// The arithmetic of the passes, once: for one number on any device and for a
// vector register of them.
//
// Included (without guard) inside a namespace by whoever compiles it for a
// target of its own: each of Highway's instruction sets, or a GPU. The includer
// defines CONCORD_ELEMENTWISE_FUNCTION (the attributes of a function) and has
// Sqrt(V) in scope. V is a number or a register; only operators are used, and
// the code is compiled without contraction, so every target gives the same
// bits.
#ifndef CONCORD_ELEMENTWISE_FUNCTION
#error "Define CONCORD_ELEMENTWISE_FUNCTION before including elementwise.h."
#endif

// m <- beta_1 m + (1 - beta_1) g
template <class V>
CONCORD_ELEMENTWISE_FUNCTION V NewMomentum(V beta_1, V one_minus_beta_1, V old,
                                           V gradient) {
  return beta_1 * old + one_minus_beta_1 * gradient;
}

// s <- s + (1 - beta_2) (pseudo^2 - s): with beta_2 itself rounded to fp32 the
// second momentum would settle 5e-5 off.
template <class V>
CONCORD_ELEMENTWISE_FUNCTION V NewSecondMomentum(V one_minus_beta_2, V second,
                                                 V pseudo) {
  return second + one_minus_beta_2 * (pseudo * pseudo - second);
}

// r / (sqrt(s / (1 - beta_2^t)) + epsilon)
template <class V>
CONCORD_ELEMENTWISE_FUNCTION V Rescaled(V direction, V second, V correction,
                                        V epsilon) {
  return direction / (Sqrt(second * correction) + epsilon);
}
