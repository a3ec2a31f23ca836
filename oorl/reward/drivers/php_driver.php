<?php
// Calls one PHP function for the judge: php php_driver.php SOURCE ENTRY PARAMETER_TYPE... RESULT_TYPE.
// The protocol is described in oorl/reward/wire.py. Requests come on descriptor 3, replies leave on 4; a shell has put them there and
// pointed the standard streams away, because PHP cannot redirect them itself. Everything lives in a namespace and a closure, so that
// the program's functions, variables and constants collide with nothing here.
declare(strict_types=1);

namespace Oorl\Driver;

final class Mistyped extends \Exception {}

function parse_type(string $text): array {
    foreach (['list' => 'list[', 'optional' => 'optional[', 'dict' => 'dict[str,'] as $kind => $opening) {
        if (\str_starts_with($text, $opening)) {
            return [$kind, parse_type(\trim(\substr($text, \strlen($opening), -1)))];
        }
    }
    return [$text, null];
}

/** Put the non-finite floats in the place of their names. */
function decode(mixed $value, array $kind): mixed {
    [$name, $element] = $kind;
    if ($name === 'float' && \is_string($value)) {
        return ['NaN' => \NAN, 'Infinity' => \INF, '-Infinity' => -\INF][$value];
    }
    if ($element === null || $value === null) {
        return $value;
    }
    return $name === 'optional' ? decode($value, $element) : \array_map(fn($item) => decode($item, $element), $value);
}

function text(string $value): string {
    $quoted = \json_encode($value, \JSON_UNESCAPED_SLASHES);
    return $quoted === false ? throw new Mistyped('returned text that is not UTF-8') : $quoted;
}

/** Canonical JSON of a value of the declared type. */
function encode(mixed $value, array $kind): string {
    [$name, $element] = $kind;
    if ($name === 'optional') {
        return $value === null ? 'null' : encode($value, $element);
    }
    if ($name === 'list' && \is_array($value) && \array_is_list($value)) {
        return '[' . \implode(',', \array_map(fn($item) => encode($item, $element), $value)) . ']';
    }
    if ($name === 'dict' && \is_array($value)) {
        $pairs = [];
        foreach ($value as $key => $item) {
            $pairs[] = text((string) $key) . ':' . encode($item, $element);  // PHP turns keys like "12" into integers
        }
        return '{' . \implode(',', $pairs) . '}';
    }
    if ($name === 'bool' && \is_bool($value)) {
        return $value ? 'true' : 'false';
    }
    if (($name === 'int' || $name === 'float') && \is_int($value)) {
        return (string) $value;
    }
    if ($name === 'float' && \is_float($value)) {
        return \is_nan($value) ? '"NaN"' : (\is_infinite($value) ? ($value > 0 ? '"Infinity"' : '"-Infinity"') : \var_export($value, true));
    }
    if ($name === 'str' && \is_string($value)) {
        return text($value);
    }
    throw new Mistyped('returned ' . \get_debug_type($value) . " where $name was declared");
}

function describe(\Throwable $error): string {
    return \get_class($error) . ': ' . \substr($error->getMessage(), 0, 1500) . " (line {$error->getLine()})";
}

function detail(string $message): string {
    return \json_encode($message, \JSON_INVALID_UTF8_SUBSTITUTE);
}

/** Load the program; null, or the fault and its detail. The include runs in a scope of its own. */
function load(string $path, string $entry): ?array {
    try {
        (static function (string $oorl_source): void { require $oorl_source; })($path);
    } catch (\ParseError | \CompileError $error) {
        return ['compile_error', describe($error)];
    } catch (\Throwable $error) {
        return ['error', describe($error)];
    }
    return \function_exists($entry) ? null : ['compile_error', "defines no function $entry"];
}

/** One call; the reply's field and its JSON. */
function call(string $entry, array $args, array $params, array $returns): array {
    try {
        return ['value', encode($entry(...\array_map(decode(...), $args, $params)), $returns)];
    } catch (Mistyped $error) {
        return ['mistyped', detail($error->getMessage())];
    } catch (\Throwable $error) {
        return ['error', detail(describe($error))];
    }
}

(static function (array $argv): void {
    [, $path, $entry] = $argv;
    $kinds = \array_map(parse_type(...), \array_slice($argv, 3));
    $returns = \array_pop($kinds);
    $requests = \fopen('php://fd/3', 'rb');
    $replies = \fopen('php://fd/4', 'wb');
    $loaded = false;
    $fault = null;
    while (($line = \fgets($requests)) !== false) {
        $request = \json_decode($line, true, 512, \JSON_THROW_ON_ERROR);
        if (!$loaded) {
            $fault = load($path, $entry);
            $loaded = true;
        }
        [$field, $json] = $fault === null ? call($entry, $request['args'], $kinds, $returns) : [$fault[0], detail($fault[1])];
        \fwrite($replies, '{"id":' . text($request['id']) . ",\"$field\":$json}\n");
    }
    \fflush($replies);
})($argv);
