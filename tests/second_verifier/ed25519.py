"""Ed25519 verification after RFC 8032 section 5.1, on extended coordinates.

Nothing here is secret, so nothing has to take constant time. One key verifies two signatures for each
block, so the multiples of its point are kept in a table.
"""

import functools
import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def add(p, q):
    """Section 5.1.4. A point is (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z. The formula is complete: it
    doubles as well."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * D * p[3] * q[3] % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def same(p, q):
    """x and y agree: compared crosswise, without a division."""
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def decompress(data):
    """Section 5.1.3: the point that 32 bytes encode, or None."""
    encoded = int.from_bytes(data, "little")
    y, sign = encoded & (2**255 - 1), encoded >> 255
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * SQRT_MINUS_1 % P
    if v * x * x % P != u:
        return None  # u/v is no square
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = decompress((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


@functools.lru_cache(maxsize=8)
def multiples(point):
    """Row i holds 0 to 15 times 16^i times the point: a product is then one addition for each
    hexadecimal digit of the factor."""
    table = []
    for _ in range(64):
        row = [NEUTRAL]
        for _ in range(15):
            row.append(add(row[-1], point))
        table.append(row)
        point = add(row[-1], point)
    return table


def multiply(factor, point):
    result = NEUTRAL
    for row in multiples(point):
        if factor & 15:
            result = add(result, row[factor & 15])
        factor >>= 4
    return result


@functools.lru_cache(maxsize=8)
def public_point(public):
    return decompress(public) if len(public) == 32 else None


def verify(public, message, signature):
    """Section 5.1.7, with the stricter of the two equations it allows: [S]B = R + [k]A."""
    a = public_point(public)
    if a is None or len(signature) != 64:
        return False
    r = decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if r is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    return same(multiply(s, BASE), add(r, multiply(k, a)))
