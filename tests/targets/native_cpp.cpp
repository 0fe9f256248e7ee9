// Activities of a C++ program: methods, namespaces, overloads, an exception that leaves an activity.
// See rules/native_cpp.yaml.
#include <cstdio>
#include <stdexcept>
#include <string>

#define KEEP __attribute__((noinline))

namespace shop {

class Cart {
public:
    KEEP long add(int quantity, long cents);
    KEEP long total(int discount);
    KEEP void pay(long cents);

private:
    long sum = 0;
};

long Cart::add(int quantity, long cents)
{
    __asm__ volatile("" ::: "memory");
    return sum += quantity * cents;
}

long Cart::total(int discount)
{
    long t = add(0, 0) - discount;
    __asm__ volatile("" ::: "memory");
    return t;
}

void Cart::pay(long cents)
{
    if (cents > total(0))
        throw std::runtime_error("too much");
    __asm__ volatile("" ::: "memory");
}

KEEP long checkout(Cart &cart, int items)
{
    for (int i = 1; i <= items; i++)
        cart.add(i, 100);
    long t = cart.total(50);
    cart.pay(t);
    __asm__ volatile("" ::: "memory");
    return t;
}

} // namespace shop

int main()
{
    shop::Cart cart;
    shop::checkout(cart, 3);
    try {
        cart.pay(1000000);
    } catch (const std::runtime_error &) {
    }
    std::puts("done");
}
