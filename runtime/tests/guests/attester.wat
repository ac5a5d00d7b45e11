;; Asks its host for evidence in answer to the nonce that it is handed.
(component
  (import "countersign:device/attestation@0.1.0" (instance $attestation
    (type $variant (variant (case "not-granted") (case "nonce-invalid") (case "quota-exceeded" u64) (case "busy")
      (case "hardware-failure")))
    (export "error" (type $error (eq $variant)))
    (export "evidence" (func (param "nonce" (list u8)) (result (result (list u8) (error $error)))))))
  (alias export $attestation "error" (type $error))
  (core module $libc
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 1024))
    (func (export "reset") (param i32) (global.set $next (i32.const 1024)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $evidence (canon lower (func $attestation "evidence")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $main
    (import "host" "evidence" (func $evidence (param i32 i32 i32)))
    (func (export "evidence") (param i32 i32) (result i32)
      (call $evidence (local.get 0) (local.get 1) (i32.const 64))
      (i32.const 64)))
  (core instance $main (instantiate $main
    (with "host" (instance (export "evidence" (func $evidence))))))
  (func (export "evidence") (param "nonce" (list u8)) (result (result (list u8) (error $error)))
    (canon lift (core func $main "evidence") (memory $libc "memory") (realloc (func $libc "realloc"))
      (post-return (func $libc "reset")))))
