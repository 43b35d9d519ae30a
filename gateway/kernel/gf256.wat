;; The inner loops of the erasure codes: XOR, and arithmetic in GF(256), sixteen bytes at a time.
;;
;; Memory belongs to the caller (gateway/core/blocks.ts). Addresses and lengths are in bytes; what
;; says "units" is a multiple of 32 bytes. Every function touches [at, at + bytes) and no more.
;;
;; Multiplication by a constant c is linear over XOR, so the product of a byte is the XOR of the
;; products of its two nibbles: two tables of sixteen bytes per constant, looked up by
;; i8x16.swizzle (Plank, Greenan, Miller: "Screaming Fast Galois Field Arithmetic Using Intel SIMD
;; Instructions", FAST 2013). `tables` is the address of c × 0x00 … 0x0f, then c × 0x00 … 0xf0.
(module
  (import "codec" "memory" (memory 1))

  ;; target ^= source, in units
  (func (export "xor") (param $target i32) (param $source i32) (param $bytes i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $target) (local.get $bytes)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $target) (local.get $end)))
        (v128.store (local.get $target)
          (v128.xor (v128.load (local.get $target)) (v128.load (local.get $source))))
        (v128.store offset=16 (local.get $target)
          (v128.xor
            (v128.load offset=16 (local.get $target))
            (v128.load offset=16 (local.get $source))))
        (local.set $target (i32.add (local.get $target) (i32.const 32)))
        (local.set $source (i32.add (local.get $source) (i32.const 32)))
        (br $next))))

  ;; target ^= c × source, in units. The product is written out: engines do not inline calls.
  (func (export "addScaled")
    (param $target i32) (param $source i32) (param $bytes i32) (param $tables i32)
    (local $end i32) (local $low v128) (local $high v128) (local $mask v128)
    (local $first v128) (local $second v128)
    (local.set $low (v128.load (local.get $tables)))
    (local.set $high (v128.load offset=16 (local.get $tables)))
    (local.set $mask (i8x16.splat (i32.const 15)))
    (local.set $end (i32.add (local.get $target) (local.get $bytes)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $target) (local.get $end)))
        (local.set $first (v128.load (local.get $source)))
        (local.set $second (v128.load offset=16 (local.get $source)))
        (v128.store (local.get $target)
          (v128.xor
            (v128.load (local.get $target))
            (v128.xor
              (i8x16.swizzle (local.get $low) (v128.and (local.get $first) (local.get $mask)))
              (i8x16.swizzle (local.get $high) (i8x16.shr_u (local.get $first) (i32.const 4))))))
        (v128.store offset=16 (local.get $target)
          (v128.xor
            (v128.load offset=16 (local.get $target))
            (v128.xor
              (i8x16.swizzle (local.get $low) (v128.and (local.get $second) (local.get $mask)))
              (i8x16.swizzle (local.get $high) (i8x16.shr_u (local.get $second) (i32.const 4))))))
        (local.set $target (i32.add (local.get $target) (i32.const 32)))
        (local.set $source (i32.add (local.get $source) (i32.const 32)))
        (br $next))))

  ;; target = c × target, in units
  (func (export "scale") (param $target i32) (param $bytes i32) (param $tables i32)
    (local $end i32) (local $low v128) (local $high v128) (local $mask v128) (local $here v128)
    (local.set $low (v128.load (local.get $tables)))
    (local.set $high (v128.load offset=16 (local.get $tables)))
    (local.set $mask (i8x16.splat (i32.const 15)))
    (local.set $end (i32.add (local.get $target) (local.get $bytes)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $target) (local.get $end)))
        (local.set $here (v128.load (local.get $target)))
        (v128.store (local.get $target)
          (v128.xor
            (i8x16.swizzle (local.get $low) (v128.and (local.get $here) (local.get $mask)))
            (i8x16.swizzle (local.get $high) (i8x16.shr_u (local.get $here) (i32.const 4)))))
        (local.set $target (i32.add (local.get $target) (i32.const 16)))
        (br $next))))

  ;; Address of the first byte in [at, end) that is not zero, or end.
  (func (export "firstNonZero") (param $at i32) (param $end i32) (result i32)
    (block $short
      (loop $sixteen
        (br_if $short (i32.gt_u (i32.add (local.get $at) (i32.const 16)) (local.get $end)))
        (br_if $short (v128.any_true (v128.load (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br $sixteen)))
    (block $found
      (loop $one
        (br_if $found (i32.ge_u (local.get $at) (local.get $end)))
        (br_if $found (i32.load8_u (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $one)))
    (local.get $at)))
