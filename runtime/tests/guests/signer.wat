;; Signs what its host hands it with a key of the device.
;;
;; sign: opens the key and signs the message. digest: opens the key and signs the message, written so many times, by its
;; digest. flood: signs so often, and counts the signatures.
(component
  (import "countersign:device/signing@0.1.0" (instance $signing
    (export "key" (type $key (sub resource)))
    (export "message" (type $message (sub resource)))
    (type $variant (variant (case "not-granted") (case "unknown-key") (case "context-invalid")
      (case "message-too-large") (case "quota-exceeded" u64) (case "busy") (case "hardware-failure")))
    (export "error" (type $error (eq $variant)))
    (export "open" (func (param "name" string) (result (result (own $key) (error $error)))))
    (export "[method]key.sign" (func (param "self" (borrow $key)) (param "context" string)
      (param "message" (list u8)) (result (result (list u8) (error $error)))))
    (export "[method]key.begin" (func (param "self" (borrow $key)) (param "context" string)
      (result (result (own $message) (error $error)))))
    (export "[method]message.write" (func (param "self" (borrow $message)) (param "bytes" (list u8))
      (result (result (error $error)))))
    (export "[static]message.finish" (func (param "this" (own $message))
      (result (result (list u8) (error $error)))))))
  (import "countersign:device/identity@0.1.0" (instance $identity
    (export "device" (func (result string)))
    (export "boot" (func (result (list u8))))))
  (alias export $signing "error" (type $error))
  (alias export $signing "key" (type $key))
  (alias export $signing "message" (type $message))

  ;; Everything that is allocated lives until the call returns.
  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "reset") (param i32) (global.set $next (i32.const 1024)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32) (local $missing i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.set $missing (i32.sub
        (i32.shr_u (i32.add (global.get $next) (i32.const 65535)) (i32.const 16)) (memory.size)))
      (if (i32.gt_s (local.get $missing) (i32.const 0))
        (then (if (i32.eq (memory.grow (local.get $missing)) (i32.const -1)) (then (unreachable)))))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $open (canon lower (func $signing "open") (memory $libc "memory")))
  (core func $sign (canon lower (func $signing "[method]key.sign")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $begin (canon lower (func $signing "[method]key.begin") (memory $libc "memory")))
  (core func $write (canon lower (func $signing "[method]message.write") (memory $libc "memory")))
  (core func $finish (canon lower (func $signing "[static]message.finish")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $boot (canon lower (func $identity "boot")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $drop-key (canon resource.drop $key))
  (core func $drop-message (canon resource.drop $message))

  ;; Results lie at 64 (of open and begin), 128 (of the call that the host asked for) and 192. A result of these types has
  ;; its case at 0 and its value, or the error, at 8.
  (core module $main
    (import "host" "open" (func $open (param i32 i32 i32)))
    (import "host" "sign" (func $sign (param i32 i32 i32 i32 i32 i32)))
    (import "host" "begin" (func $begin (param i32 i32 i32 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "finish" (func $finish (param i32 i32)))
    (import "host" "boot" (func $boot (param i32)))
    (import "host" "drop-key" (func $drop-key (param i32)))
    (import "host" "drop-message" (func $drop-message (param i32)))
    (import "libc" "memory" (memory 1))

    (func (export "sign") (param $k i32) (param $kl i32) (param $c i32) (param $cl i32) (param $m i32) (param $ml i32)
        (result i32)
      (local $key i32)
      (call $open (local.get $k) (local.get $kl) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (return (i32.const 64))))
      (local.set $key (i32.load (i32.const 72)))
      (call $sign (local.get $key) (local.get $c) (local.get $cl) (local.get $m) (local.get $ml) (i32.const 128))
      (call $drop-key (local.get $key))
      (i32.const 128))

    (func (export "digest") (param $k i32) (param $kl i32) (param $c i32) (param $cl i32) (param $m i32) (param $ml i32)
        (param $times i32) (result i32)
      (local $key i32) (local $message i32)
      (call $open (local.get $k) (local.get $kl) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (return (i32.const 64))))
      (local.set $key (i32.load (i32.const 72)))
      (call $begin (local.get $key) (local.get $c) (local.get $cl) (i32.const 64))
      (call $drop-key (local.get $key))
      (if (i32.load8_u (i32.const 64)) (then (return (i32.const 64))))
      (local.set $message (i32.load (i32.const 72)))
      (loop $again
        (if (local.get $times) (then
          (call $write (local.get $message) (local.get $m) (local.get $ml) (i32.const 192))
          (if (i32.load8_u (i32.const 192))
            (then (call $drop-message (local.get $message)) (return (i32.const 192))))
          (local.set $times (i32.sub (local.get $times) (i32.const 1)))
          (br $again))))
      (call $finish (local.get $message) (i32.const 128))
      (i32.const 128))

    (func (export "flood") (param $k i32) (param $kl i32) (param $c i32) (param $cl i32) (param $times i32) (result i32)
      (local $key i32) (local $signed i32)
      (call $open (local.get $k) (local.get $kl) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (return (i32.const 0))))
      (local.set $key (i32.load (i32.const 72)))
      (loop $again
        (if (local.get $times) (then
          (call $sign (local.get $key) (local.get $c) (local.get $cl) (i32.const 0) (i32.const 8) (i32.const 128))
          (if (i32.eqz (i32.load8_u (i32.const 128)))
            (then (local.set $signed (i32.add (local.get $signed) (i32.const 1)))))
          (local.set $times (i32.sub (local.get $times) (i32.const 1)))
          (br $again))))
      (call $drop-key (local.get $key))
      (local.get $signed))

    (func (export "ask-again") (param $k i32) (param $kl i32) (param $times i32)
      (loop $again
        (if (local.get $times) (then
          (call $open (local.get $k) (local.get $kl) (i32.const 64))
          (local.set $times (i32.sub (local.get $times) (i32.const 1)))
          (br $again)))))

    (func (export "boot") (result i32) (call $boot (i32.const 64)) (i32.const 64))

    ;; Hands the host a message that is as long as it says, wherever that ends.
    (func (export "unbounded") (param $k i32) (param $kl i32) (param $c i32) (param $cl i32) (param $ml i32) (result i32)
      (call $open (local.get $k) (local.get $kl) (i32.const 64))
      (call $sign (i32.load (i32.const 72)) (local.get $c) (local.get $cl) (i32.const 0) (local.get $ml) (i32.const 128))
      (i32.const 128)))
  (core instance $main (instantiate $main
    (with "host" (instance
      (export "open" (func $open)) (export "sign" (func $sign))
      (export "begin" (func $begin)) (export "write" (func $write)) (export "finish" (func $finish))
      (export "boot" (func $boot))
      (export "drop-key" (func $drop-key)) (export "drop-message" (func $drop-message))))
    (with "libc" (instance $libc))))

  (func (export "sign") (param "key" string) (param "context" string) (param "message" (list u8))
    (result (result (list u8) (error $error)))
    (canon lift (core func $main "sign") (memory $libc "memory") (realloc (func $libc "realloc"))
      (post-return (func $libc "reset"))))
  (func (export "digest") (param "key" string) (param "context" string) (param "message" (list u8)) (param "times" u32)
    (result (result (list u8) (error $error)))
    (canon lift (core func $main "digest") (memory $libc "memory") (realloc (func $libc "realloc"))
      (post-return (func $libc "reset"))))
  (func (export "flood") (param "key" string) (param "context" string) (param "times" u32) (result u32)
    (canon lift (core func $main "flood") (memory $libc "memory") (realloc (func $libc "realloc"))
      (post-return (func $libc "reset"))))
  (func (export "ask-again") (param "key" string) (param "times" u32)
    (canon lift (core func $main "ask-again") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (func (export "boot") (result (list u8))
    (canon lift (core func $main "boot") (memory $libc "memory")))
  (func (export "unbounded") (param "key" string) (param "context" string) (param "length" u32)
    (result (result (list u8) (error $error)))
    (canon lift (core func $main "unbounded") (memory $libc "memory") (realloc (func $libc "realloc")))))
