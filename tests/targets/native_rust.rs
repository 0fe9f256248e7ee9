//! Activities of a Rust program: nested, recursive, on a thread, a negative result. See rules/native_rust.yaml.
// std's own is stable only since 1.66; Debian 12 has 1.63.
#[inline(always)]
fn black_box<T>(value: T) -> T {
    let read = unsafe { std::ptr::read_volatile(&value) };
    std::mem::forget(value);
    read
}

#[no_mangle]
#[inline(never)]
pub extern "C" fn rs_parse(depth: u32) -> u32 {
    if depth == 0 { black_box(1) } else { black_box(rs_parse(black_box(depth - 1))) + 1 }
}

#[no_mangle]
#[inline(never)]
pub extern "C" fn rs_apply(amount: i64) -> i64 {
    black_box(if amount > 100 { -22 } else { amount })
}

mod ledger {
    #[inline(never)]
    pub fn settle(account: u64, amount: i64) -> i64 {
        let parsed = super::rs_parse(2) as i64;
        let unused = super::black_box(parsed + account as i64);
        super::black_box(super::rs_apply(amount) + (unused - unused))
    }
}

fn main() {
    black_box(ledger::settle(black_box(1), black_box(10)));
    black_box(ledger::settle(black_box(2), black_box(500)));
    std::thread::spawn(|| black_box(ledger::settle(black_box(3), black_box(30)))).join().unwrap();
    println!("done");
}
