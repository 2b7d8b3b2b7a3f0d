struct @STAGE@ {
  using Waits = @WAITS@;
  using Sends = @SENDS@;
  using Products = Works<@WORKS@>;
  using Next = Works<@NEXT@>;  // the products that wait for what is sent
  static constexpr bool last = @LAST@;
  struct Written {
    @WRITTEN@
    DEVICE void write(const Arguments& a, const Thread& at, i64 row, const Kept& k) const {
      @STORE@
    }
  };
  DEVICE static void compute(const Thread& at, const Learned& v, const Read& x, const float* sum,
                             const float* total, Kept& k, Written& w, bool active, el* row,
                             float* value) {
    @COMPUTE@
  }
};
