;; A module with every export of the interface, which does SUBMIT with each slab and ADVANCE in each turn. It is ready, and holds
;; what was submitted: a Turn with the fields 4 (`is_ready`) and 5 (`held`) alone.
(module
  (memory (export "memory") 20)
  (global $held (mut i32) (i32.const 0))
  (func (export "version") (result i32) (i32.const 1))
  (func (export "input") (param i32) (result i32) (i32.const 65536))
  (func (export "start") (param i32) (result i64) (i64.const 0))
  (func (export "submit") (param i64 i32 i64)
    (global.set $held (i32.add (global.get $held) (i32.const 1)))
    SUBMIT)
  (func (export "opened") (param i64 i64))
  (func (export "received") (param i64 i32 i64))
  (func (export "lost") (param i64 i32 i64))
  (func (export "advance") (param i64) (result i64)
    ADVANCE
    (i32.store8 (i32.const 0) (i32.const 0x20)) (i32.store8 (i32.const 1) (i32.const 1))
    (i32.store8 (i32.const 2) (i32.const 0x28)) (i32.store8 (i32.const 3) (global.get $held))
    (i64.const 4))
  (func (export "sent") (param i64 i32) (result i64) (i64.const 0)))
