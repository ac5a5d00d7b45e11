;; Gives the file "there" of one granted directory the name "linked" in another, from the first to the second. Returns 100 for
;; success, the number of the error otherwise, and 200 where there are not two directories.
(component
  (import "wasi:filesystem/types@0.2.0" (instance $types
    (export "descriptor" (type $descriptor (sub resource)))
    (type $flags-1 (flags "symlink-follow"))
    (export "path-flags" (type $path-flags (eq $flags-1)))
    (type $enum (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist"
      "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop"
      "too-many-links" "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory"
      "insufficient-space" "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device"
      "overflow" "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
    (export "error-code" (type $error-code (eq $enum)))
    (export "[method]descriptor.link-at"
      (func (param "self" (borrow $descriptor)) (param "old-path-flags" $path-flags) (param "old-path" string)
        (param "new-descriptor" (borrow $descriptor)) (param "new-path" string)
        (result (result (error $error-code)))))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (alias outer 1 $descriptor (type $outer))
    (export "descriptor" (type $d (eq $outer)))
    (export "get-directories" (func (result (list (tuple (own $d) string)))))))
  (core module $libc
    (memory (export "memory") 1)
    (data (i32.const 64) "therelinked")
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $get-directories (canon lower (func $preopens "get-directories")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $link-at (canon lower (func $types "[method]descriptor.link-at") (memory $libc "memory")))
  (core module $main
    (import "host" "get-directories" (func $get-directories (param i32)))
    (import "host" "link-at" (func $link-at (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "libc" "memory" (memory 1))
    (func (export "link") (result i32)
      (local $all i32)
      (call $get-directories (i32.const 0))
      (if (i32.ne (i32.load (i32.const 4)) (i32.const 2)) (then (return (i32.const 200))))
      (local.set $all (i32.load (i32.const 0)))
      ;; One takes twelve bytes: its descriptor, and where its name is.
      (call $link-at (i32.load (local.get $all)) (i32.const 0) (i32.const 64) (i32.const 5)
        (i32.load offset=12 (local.get $all)) (i32.const 69) (i32.const 6) (i32.const 16))
      (if (result i32) (i32.load8_u (i32.const 16))
        (then (i32.load8_u (i32.const 17))) (else (i32.const 100)))))
  (core instance $main (instantiate $main
    (with "host" (instance
      (export "get-directories" (func $get-directories)) (export "link-at" (func $link-at))))
    (with "libc" (instance $libc))))
  (func (export "link") (result u32) (canon lift (core func $main "link"))))
